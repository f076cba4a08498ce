// A device with one module on it, for tests that bring their own PTX: puts vectors there, launches, brings vectors
// back. Operations are in order unless a test passes an Operation of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/gpu/execute/launch.h"

namespace trireme::gpu {

class SmallGpu {
 public:
  explicit SmallGpu(const std::string& ptx, Races races = Races::kReported)
      : module_(parse(ptx)),
        memory_(std::size_t{1} << 30, races),
        variables_(load_variables(module_, memory_, next())) {}

  template <class T>
  T* put(const std::vector<T>& values) {
    T* there = empty<T>(values.size());
    std::memcpy(memory_.write(next(), there, values.size() * sizeof(T)), values.data(), values.size() * sizeof(T));
    return there;
  }
  template <class T>
  T* empty(std::size_t count) {
    return reinterpret_cast<T*>(memory_.allocate(count * sizeof(T)));
  }
  template <class T>
  std::vector<T> get(const T* there, std::size_t count) {
    std::vector<T> values(count);
    std::memcpy(values.data(), memory_.read(next(), there, count * sizeof(T)), count * sizeof(T));
    return values;
  }

  struct Shape {
    std::uint32_t blocks = 1;
    std::uint32_t threads = 32;
    std::uint32_t shared_bytes = 0;
    std::uint64_t seed = 1;
  };
  // The parameters in the kernel's order, each of its type.
  template <class... Parameters>
  Counters launch(const std::string& kernel, const Shape& shape, const Parameters&... parameters) {
    return launch_as(next(), kernel, shape, parameters...);
  }
  template <class... Parameters>
  Counters launch_as(const Operation& operation, const std::string& kernel, const Shape& shape,
                     const Parameters&... parameters) {
    std::vector<std::byte> bytes;
    (append(bytes, parameters), ...);
    auto& program = programs_[kernel];
    if (!program) program = decode(module_, *module_.find(kernel));
    const Launch launch{.program = program,
                        .grid = {shape.blocks, 1, 1},
                        .block = {shape.threads, 1, 1},
                        .dynamic_shared_bytes = shape.shared_bytes,
                        .dynamic_shared_limit = shape.shared_bytes,
                        .parameters = bytes,
                        .variables = &variables_};
    return run(launch, memory_, operation, shape.seed);
  }

  GlobalMemory& memory() { return memory_; }
  const Module& module() const { return module_; }

 private:
  template <class T>
  static void append(std::vector<std::byte>& bytes, const T& value) {
    while (bytes.size() % sizeof(T) != 0) bytes.push_back({});
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), first, first + sizeof(T));
  }
  Operation next() {
    std::string label("operation ");
    return {.stream = 0, .number = ++operations_, .label = label.append(std::to_string(operations_))};
  }

  std::uint64_t operations_ = 0;
  Module module_;
  GlobalMemory memory_;
  std::map<std::string, std::byte*> variables_;
  std::map<std::string, std::shared_ptr<const Program>> programs_{};
};

// What was found while `action` ran; nullopt: nothing.
template <class Action>
std::optional<Fault> fault_of(const Action& action) {
  try {
    action();
  } catch (const Fault& fault) {
    return fault;
  }
  return std::nullopt;
}

// A kernel `k` with two pointers, %in and %out, and the thread's number in %t; `body` declares what else it needs.
inline std::string kernel_of(const std::string& body) {
  return R"(.version 9.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 p0, .param .u64 p1)
{
  .reg .b64 %in, %out, %at;
  .reg .b32 %t;
  ld.param.u64 %in, [p0];
  ld.param.u64 %out, [p1];
  mov.u32 %t, %tid.x;
)" + body +
         "\nret;\n}\n";
}

}  // namespace trireme::gpu
