#include "tests/gpu/runtime/modules.h"

#include "tests/gpu/memory/fault.h"
#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {

Modules& Modules::of_process() {
  static auto* const modules = new Modules;  // outlives the objects that unregister at exit
  return *modules;
}

Binary* Modules::add_binary(const void* wrapper) {
  const std::lock_guard lock(mutex_);
  auto binary = std::make_unique<Binary>();
  binary->wrapper = wrapper;
  return binaries_.emplace_back(std::move(binary)).get();
}

void Modules::close(Binary* binary) {
  const std::lock_guard lock(mutex_);
  binary->closed = true;
  std::erase_if(by_handle_, [&](const auto& entry) { return entry.second->binary == binary; });
  std::erase_if(variables_, [&](const auto& entry) { return entry.second.binary == binary; });
}

void Modules::add_kernel(Binary* binary, const void* host_function, const char* name) {
  const std::lock_guard lock(mutex_);
  auto kernel = std::make_unique<Kernel>();
  kernel->name = name;
  kernel->binary = binary;
  by_handle_[host_function] = by_handle_[kernel.get()] = kernel.get();
  kernels_.push_back(std::move(kernel));
}

void Modules::add_variable(Binary* binary, const void* host_variable, const char* name, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  variables_[host_variable] = {binary, name, bytes};
}

bool Modules::has_kernel(const void* handle) const {
  const std::lock_guard lock(mutex_);
  return by_handle_.count(handle) > 0;
}

void Modules::load(Binary& binary, int arch, GlobalMemory& memory) {
  if (binary.module) return;
  if (binary.entries.empty()) binary.entries = read_fat_binary(binary.wrapper);
  auto module = std::make_unique<const Module>(parse(ptx_for(binary.entries, arch)));
  Operation loading;  // before everything: nothing of the module has run
  loading.label = "loading a module";
  const Clock nothing_before;
  loading.before = &nothing_before;
  binary.variables = load_variables(*module, memory, loading);
  binary.module = std::move(module);
}

Kernel& Modules::kernel(const void* handle, int arch, GlobalMemory& memory,
                        const std::unique_lock<std::mutex>& /*pause*/) {
  const std::lock_guard lock(mutex_);
  const auto found = by_handle_.find(handle);
  if (found == by_handle_.end())
    throw Refusal(cudaErrorInvalidDeviceFunction, hex(handle) + " is no kernel of this program");
  Kernel& kernel = *found->second;
  load(*kernel.binary, arch, memory);
  if (kernel.function == nullptr) {
    kernel.function = kernel.binary->module->find(kernel.name);
    if (kernel.function == nullptr || !kernel.function->is_kernel)
      throw Refusal(cudaErrorNoKernelImageForDevice, "the PTX of its binary holds no kernel " + kernel.name);
    kernel.registers = registers_of(kernel.binary->entries, arch, kernel.name);
  }
  return kernel;
}

Modules::VariableOnDevice Modules::variable(const void* host_variable, int arch, GlobalMemory& memory,
                                            const std::unique_lock<std::mutex>& /*pause*/) {
  const std::lock_guard lock(mutex_);
  const auto found = variables_.find(host_variable);
  if (found == variables_.end())
    throw Refusal(cudaErrorInvalidSymbol, hex(host_variable) + " is no device variable of this program");
  const HostVariable& variable = found->second;
  load(*variable.binary, arch, memory);
  const auto place = variable.binary->variables.find(variable.name);
  if (place == variable.binary->variables.end())
    throw Refusal(cudaErrorInvalidSymbol, "the PTX of its binary holds no variable " + variable.name);
  return {place->second, variable.bytes};
}

}  // namespace trireme::gpu
