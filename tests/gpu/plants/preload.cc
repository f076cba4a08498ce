#include "tests/gpu/plants/preload.h"

#include <cstdio>
#include <cstdlib>

#include <dlfcn.h>

namespace trireme::gpu::plants {
namespace {

int asked = 0;

}  // namespace

std::string_view plant() {
  static const char* name = std::getenv("TRIREME_GPU_PLANT");
  return name == nullptr ? "" : name;
}
bool planted(std::string_view name) { return plant() == name; }

int rank() {
  const char* text = std::getenv("OMPI_COMM_WORLD_RANK");
  return text == nullptr ? 0 : std::atoi(text);
}

bool time_has_come(int which) { return asked++ == which; }

void* behind(const char* name) {
  const std::string_view prefix(name, 4);
  const char* library = prefix == "nccl" ? "libnccl.so.2" : prefix == "cubl" ? "libcublasLt.so.13" : "libcudart.so.13";
  void* opened = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  void* found = opened == nullptr ? nullptr : dlsym(opened, name);
  if (found != nullptr) return found;
  std::fprintf(stderr, "plants: nothing behind %s\n", name);
  std::abort();
}

}  // namespace trireme::gpu::plants
