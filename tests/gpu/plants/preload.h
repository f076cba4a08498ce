// A library to preload before the stand-in's (run_with_gpu does, where TRIREME_GPU_PLANT names a plant): it stands
// between the program and the stand-in and makes one mistake, in a kernel's PTX (kernel_plants.cc) or in what the
// program asks of the runtime (runtime_plants.cc) or of NCCL (nccl_plants.cc). What finds each is in tests/gpu's
// README.md, and a test each holds it to that (plants.cmake).
#pragma once

#include <string_view>

namespace trireme::gpu::plants {

std::string_view plant();             // "" for none
bool planted(std::string_view name);  // is it this one?

int rank();  // of this process in its job

// True once, the `which`-th time that it is asked, from 0.
bool time_has_come(int which);

// The stand-in's own function of that name. Its libraries come with a shared object that is opened at run time, so they
// are not among those that RTLD_NEXT looks through.
void* behind(const char* name);

template <class Function>
Function* next(Function* /*of the same type*/, const char* name) {
  return reinterpret_cast<Function*>(behind(name));
}

}  // namespace trireme::gpu::plants

#define NEXT(function) trireme::gpu::plants::next(&function, #function)
