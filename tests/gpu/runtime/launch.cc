#include "tests/gpu/runtime/launch.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/gpu/runtime/counters.h"

namespace trireme::gpu {
namespace {

constexpr int kRegisterUnit = 256;  // registers are given to warps in these
constexpr int kWarpThreads = 32;
constexpr std::size_t kSharedUnit = 128;

std::atomic<std::uint64_t> launched{0};

int rounded_up(int value, int unit) { return (value + unit - 1) / unit * unit; }

void check_shape(const Gpu& gpu, const Kernel& kernel, dim3 grid, dim3 block) {
  const DeviceLimits& limits = gpu.devices.limits();
  const auto text = [](dim3 d) {
    return "(" + std::to_string(d.x) + ", " + std::to_string(d.y) + ", " + std::to_string(d.z) + ")";
  };
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  const auto most = static_cast<unsigned>(limits.threads_per_block);
  if (threads == 0 || block.x > most || block.y > most || block.z > 64 || threads > most)
    throw Refusal(cudaErrorInvalidConfiguration, kernel.name + ": a block of " + text(block) + " threads; at most " +
                                                     std::to_string(most) + ", (1024, 1024, 64) in each dimension");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 2147483647U || grid.y > 65535U || grid.z > 65535U)
    throw Refusal(cudaErrorInvalidConfiguration,
                  kernel.name + ": a grid of " + text(grid) + " blocks; 1 to (2147483647, 65535, 65535)");
  if (kernel.function->max_threads != 0 && threads > kernel.function->max_threads)
    throw Refusal(cudaErrorLaunchOutOfResources, kernel.name + ": " + std::to_string(threads) +
                                                     " threads where __launch_bounds__ says at most " +
                                                     std::to_string(kernel.function->max_threads));
  if (std::int64_t{kernel.registers} * rounded_up(static_cast<int>(threads), kWarpThreads) >
      limits.registers_per_multiprocessor)
    throw Refusal(cudaErrorLaunchOutOfResources, kernel.name + ": " + std::to_string(threads) + " threads of " +
                                                     std::to_string(kernel.registers) + " registers");
}

void check_shared(const Gpu& gpu, const Kernel& kernel, std::size_t dynamic_bytes) {
  const DeviceLimits& limits = gpu.devices.limits();
  const std::size_t total = kernel.function->static_shared_bytes + dynamic_bytes;
  const auto without_asking = static_cast<std::size_t>(limits.shared_bytes_per_block);
  if (total > static_cast<std::size_t>(limits.shared_bytes_opt_in))
    throw Refusal(cudaErrorInvalidValue, kernel.name + ": " + std::to_string(total) +
                                             " bytes of shared memory; the device has " +
                                             std::to_string(limits.shared_bytes_opt_in) + " for a block");
  if (total > without_asking && dynamic_bytes > kernel.dynamic_shared_limit)
    throw Refusal(
        cudaErrorInvalidValue,
        kernel.name + ": " + std::to_string(dynamic_bytes) +
            " bytes of dynamic shared memory, where cudaFuncSetAttribute(MaxDynamicSharedMemorySize) allowed " +
            std::to_string(kernel.dynamic_shared_limit));
}

}  // namespace

Kernel& kernel_of(Gpu& gpu, const void* handle) {
  return Modules::of_process().kernel(handle, gpu.devices.arch(), gpu.global, gpu.streams.between_operations());
}

void launch(Gpu& gpu, const void* handle, dim3 grid, dim3 block, void** arguments, std::size_t dynamic_shared_bytes,
            cudaStream_t stream_handle) {
  gpu.count_launch();
  CUstream_st* stream = gpu.stream(stream_handle);
  if (stream->device != Gpu::current_device())
    throw Refusal(cudaErrorInvalidResourceHandle, "the stream belongs to another device than the current one");
  Kernel& kernel = kernel_of(gpu, handle);
  check_shape(gpu, kernel, grid, block);
  check_shared(gpu, kernel, dynamic_shared_bytes);
  if (!kernel.program) kernel.program = decode(*kernel.binary->module, *kernel.function);

  struct Call {
    Launch launch{};
    std::vector<std::byte> parameters{};
  };
  auto call = std::make_shared<Call>();
  call->parameters.resize(kernel.function->parameter_bytes);
  for (std::size_t i = 0; i < kernel.function->parameters.size(); ++i) {
    const Parameter& parameter = kernel.function->parameters[i];
    std::memcpy(call->parameters.data() + parameter.offset, arguments[i], parameter.bytes);
  }
  call->launch.program = kernel.program;
  call->launch.grid = {grid.x, grid.y, grid.z};
  call->launch.block = {block.x, block.y, block.z};
  call->launch.dynamic_shared_bytes = static_cast<std::uint32_t>(dynamic_shared_bytes);
  call->launch.dynamic_shared_limit = kernel.dynamic_shared_limit;
  call->launch.parameters = call->parameters;
  call->launch.variables = &kernel.binary->variables;
  const std::uint64_t seed = gpu.settings.seed * 1000003 + ++launched;
  Report::of_process().count("kernels");
  gpu.streams.enqueue(stream, "kernel " + kernel.name + " on stream " + std::to_string(stream->id),
                      [&gpu, &kernel, call, seed](const Operation& operation) {
                        count(kernel.name, run(call->launch, gpu.global, operation, seed));
                        return Progress::kDone;
                      });
}

cudaFuncAttributes attributes_of(Gpu& gpu, const void* handle) {
  const Kernel& kernel = kernel_of(gpu, handle);
  const DeviceLimits& limits = gpu.devices.limits();
  cudaFuncAttributes attributes{};
  attributes.sharedSizeBytes = kernel.function->static_shared_bytes;
  attributes.localSizeBytes = kernel.function->local_bytes;
  attributes.maxThreadsPerBlock =
      kernel.function->max_threads != 0 ? static_cast<int>(kernel.function->max_threads) : limits.threads_per_block;
  attributes.numRegs = kernel.registers;
  attributes.ptxVersion = 80;
  attributes.binaryVersion = gpu.devices.arch();
  attributes.maxDynamicSharedSizeBytes = static_cast<int>(std::max<std::size_t>(
      kernel.dynamic_shared_limit,
      static_cast<std::size_t>(limits.shared_bytes_per_block) - kernel.function->static_shared_bytes));
  attributes.preferredShmemCarveout = kernel.preferred_carveout;
  return attributes;
}

void set_attribute(Gpu& gpu, const void* handle, cudaFuncAttribute attribute, int value) {
  Kernel& kernel = kernel_of(gpu, handle);
  if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) {
    if (value < -1 || value > 100)
      throw Refusal(cudaErrorInvalidValue, "a carve-out of " + std::to_string(value) + " percent");
    kernel.preferred_carveout = value;
    return;
  }
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
    throw Refusal(cudaErrorNotSupported, "attribute " + std::to_string(attribute) + " of a kernel is not implemented");
  const int most = gpu.devices.limits().shared_bytes_opt_in - static_cast<int>(kernel.function->static_shared_bytes);
  if (value < 0 || value > most)
    throw Refusal(cudaErrorInvalidValue, kernel.name + ": " + std::to_string(value) +
                                             " bytes of dynamic shared memory; the device allows " +
                                             std::to_string(most) + " beside the kernel's static ones");
  kernel.dynamic_shared_limit = static_cast<std::uint32_t>(value);
}

int occupancy(Gpu& gpu, const void* handle, int threads, std::size_t dynamic_shared_bytes) {
  const Kernel& kernel = kernel_of(gpu, handle);
  const DeviceLimits& limits = gpu.devices.limits();
  const auto cap =
      kernel.function->max_threads != 0 ? static_cast<int>(kernel.function->max_threads) : limits.threads_per_block;
  if (threads <= 0 || threads > cap) return 0;
  const int whole = rounded_up(threads, kWarpThreads);
  int blocks = std::min(limits.blocks_per_multiprocessor, limits.threads_per_multiprocessor / whole);
  std::size_t shared = kernel.function->static_shared_bytes + dynamic_shared_bytes;
  if (shared > static_cast<std::size_t>(limits.shared_bytes_opt_in)) return 0;
  shared = (shared + static_cast<std::size_t>(limits.reserved_shared_bytes_per_block) + kSharedUnit - 1) / kSharedUnit *
           kSharedUnit;
  blocks =
      std::min(blocks, static_cast<int>(static_cast<std::size_t>(limits.shared_bytes_per_multiprocessor) / shared));
  if (kernel.registers > 0) {
    const int of_a_warp = rounded_up(kernel.registers * kWarpThreads, kRegisterUnit);
    blocks = std::min(blocks, limits.registers_per_multiprocessor / of_a_warp / (whole / kWarpThreads));
  }
  return blocks;
}

}  // namespace trireme::gpu
