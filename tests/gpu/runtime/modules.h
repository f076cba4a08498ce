// What the program's shared objects registered when they were loaded: fat binaries, the host addresses that stand for
// their kernels and variables, and, once something of a binary is used, its parsed PTX and its variables on the device.
//
// Registration comes before main and from dlopen; it never fails, and what is wrong with a binary is said when it is
// used. Thread-safe. Kernels and binaries stay after their object was closed: operations may still refer to them.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <driver_types.h>

#include "tests/gpu/execute/launch.h"
#include "tests/gpu/ptx/module.h"
#include "tests/gpu/runtime/fat_binary.h"

namespace trireme::gpu {

struct Binary {
  const void* wrapper = nullptr;
  bool closed = false;
  std::vector<FatBinaryEntry> entries{};
  std::unique_ptr<const Module> module{};         // null until used
  std::map<std::string, std::byte*> variables{};  // null until used; one set, shared by all devices
};

struct Kernel {
  std::string name{};
  Binary* binary = nullptr;
  const Function* function = nullptr;        // null until used
  std::shared_ptr<const Program> program{};  // null until launched
  int registers = 0;                         // 0: not known
  std::uint32_t dynamic_shared_limit = 0;    // cudaFuncSetAttribute; 0: never set
  int preferred_carveout = -1;
};

class Modules {
 public:
  static Modules& of_process();  // exists before anything else of the runtime: objects register while they load

  Binary* add_binary(const void* wrapper);
  void close(Binary* binary);
  void add_kernel(Binary* binary, const void* host_function, const char* name);
  void add_variable(Binary* binary, const void* host_variable, const char* name, std::size_t bytes);

  // `handle`: the host function or the kernel handle that stands for it. Parsed, and with its variables in place.
  // Throws Refusal where nothing was registered or no code fits the device. `pause`: of Streams::between_operations.
  Kernel& kernel(const void* handle, int arch, GlobalMemory& memory, const std::unique_lock<std::mutex>& pause);
  bool has_kernel(const void* handle) const;

  struct VariableOnDevice {
    std::byte* address = nullptr;
    std::size_t bytes = 0;
  };
  VariableOnDevice variable(const void* host_variable, int arch, GlobalMemory& memory,
                            const std::unique_lock<std::mutex>& pause);

  const std::vector<std::unique_ptr<Binary>>& binaries() const { return binaries_; }

 private:
  struct HostVariable {
    Binary* binary = nullptr;
    std::string name{};
    std::size_t bytes = 0;
  };
  void load(Binary& binary, int arch, GlobalMemory& memory);

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Binary>> binaries_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::map<const void*, Kernel*> by_handle_;  // host functions, and kernels' own addresses
  std::map<const void*, HostVariable> variables_;
};

}  // namespace trireme::gpu
