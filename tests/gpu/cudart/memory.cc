// cudart's functions about memory.
#include <cuda_runtime_api.h>

#include "tests/gpu/runtime/copies.h"
#include "tests/gpu/runtime/gpu.h"

using trireme::gpu::call;
using trireme::gpu::copy;
using trireme::gpu::Gpu;
using trireme::gpu::hex;
using trireme::gpu::Modules;
using trireme::gpu::Operation;
using trireme::gpu::Progress;
using trireme::gpu::Refusal;
using trireme::gpu::Report;
using trireme::gpu::Side;
using trireme::gpu::Synchrony;

namespace {

std::byte* symbol_bytes(Gpu& gpu, const void* symbol, std::size_t offset, std::size_t bytes) {
  const Modules::VariableOnDevice variable =
      Modules::of_process().variable(symbol, gpu.devices.arch(), gpu.global, gpu.streams.between_operations());
  if (offset > variable.bytes || bytes > variable.bytes - offset)
    throw Refusal(cudaErrorInvalidValue, std::to_string(bytes) + " bytes from byte " + std::to_string(offset) +
                                             " of a variable of " + std::to_string(variable.bytes));
  return variable.address + offset;
}

cudaError_t copy_to_symbol(const char* function, const void* symbol, const void* from, std::size_t bytes,
                           std::size_t offset, cudaMemcpyKind kind, cudaStream_t stream, Synchrony synchrony) {
  return call(function, [&](Gpu& gpu) {
    copy(gpu, symbol_bytes(gpu, symbol, offset, bytes), from, bytes, kind, stream, synchrony);
  });
}

cudaError_t copy_from_symbol(const char* function, void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                             cudaMemcpyKind kind, cudaStream_t stream, Synchrony synchrony) {
  return call(function, [&](Gpu& gpu) {
    copy(gpu, to, symbol_bytes(gpu, symbol, offset, bytes), bytes, kind, stream, synchrony);
  });
}

}  // namespace

extern "C" {

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return call(__func__, [&](Gpu& gpu) {
    Report::of_process().host_synchronised("cudaMalloc");  // may wait, and stands in no step
    *memory = bytes == 0 ? nullptr : gpu.memory.allocate(Gpu::current_device(), bytes);
  });
}

// As on a device, waits for everything on it first.
cudaError_t cudaFree(void* memory) {
  return call(__func__, [&](Gpu& gpu) {
    if (memory == nullptr) return;
    const int device = gpu.memory.device_of(memory);
    Report::of_process().host_synchronised("cudaFree");
    gpu.streams.synchronize_device(device);
    gpu.memory.release(memory);
  });
}

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  return call(__func__, [&](Gpu& gpu) {
    gpu.stream(stream);
    *memory = bytes == 0 ? nullptr : gpu.memory.allocate(Gpu::current_device(), bytes);
  });
}

// Counts as writing all of it: whatever still uses it must come before, in the order of streams.
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  return call(__func__, [&](Gpu& gpu) {
    if (memory == nullptr) return;
    const std::size_t bytes = gpu.memory.bytes_of(memory);
    gpu.streams.enqueue(gpu.stream(stream), "cudaFreeAsync", [&gpu, memory, bytes](const Operation& operation) {
      gpu.global.write(operation, memory, bytes);
      gpu.memory.release_in_operation(memory);
      return Progress::kDone;
    });
  });
}

cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
  return call(__func__, [&](Gpu& gpu) { *memory = bytes == 0 ? nullptr : gpu.memory.allocate_host(bytes, flags); });
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  return call(__func__, [&](Gpu& gpu) { *memory = bytes == 0 ? nullptr : gpu.memory.allocate_host(bytes, 0); });
}

cudaError_t cudaFreeHost(void* memory) {
  return call(__func__, [&](Gpu& gpu) {
    if (memory != nullptr) gpu.memory.release_host(memory);
  });
}

cudaError_t cudaHostRegister(void* memory, std::size_t bytes, unsigned flags) {
  return call(__func__, [&](Gpu& gpu) { gpu.memory.pin(memory, bytes, flags); });
}

cudaError_t cudaHostUnregister(void* memory) {
  return call(__func__, [&](Gpu& gpu) { gpu.memory.unpin(memory); });
}

cudaError_t cudaHostGetFlags(unsigned* flags, void* memory) {
  return call(__func__, [&](Gpu& gpu) { *flags = gpu.memory.host_flags(memory); });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  return call(__func__, [&](Gpu& gpu) {
    *attributes = {};
    attributes->device = Gpu::current_device();
    switch (gpu.memory.side(address)) {
      case Side::kDevice:
        attributes->type = cudaMemoryTypeDevice;
        attributes->device = gpu.memory.device_of(address);
        attributes->devicePointer = const_cast<void*>(address);
        break;
      case Side::kPinned:
        attributes->type = cudaMemoryTypeHost;
        attributes->hostPointer = const_cast<void*>(address);
        break;
      case Side::kPageable:
        attributes->type = cudaMemoryTypeUnregistered;
        attributes->hostPointer = const_cast<void*>(address);
        attributes->device = cudaInvalidDeviceId;
        break;
    }
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return call(__func__, [&](Gpu& gpu) { copy(gpu, to, from, bytes, kind, nullptr, Synchrony::kBlocking); });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call(__func__, [&](Gpu& gpu) { copy(gpu, to, from, bytes, kind, stream, Synchrony::kAsynchronous); });
}

cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return call(__func__, [&](Gpu& gpu) { fill(gpu, memory, value, bytes, nullptr); });
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  return call(__func__, [&](Gpu& gpu) { fill(gpu, memory, value, bytes, stream); });
}

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, std::size_t bytes, std::size_t offset,
                               cudaMemcpyKind kind) {
  return copy_to_symbol(__func__, symbol, from, bytes, offset, kind, nullptr, Synchrony::kBlocking);
}

cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, std::size_t bytes, std::size_t offset,
                                    cudaMemcpyKind kind, cudaStream_t stream) {
  return copy_to_symbol(__func__, symbol, from, bytes, offset, kind, stream, Synchrony::kAsynchronous);
}

cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                                 cudaMemcpyKind kind) {
  return copy_from_symbol(__func__, to, symbol, bytes, offset, kind, nullptr, Synchrony::kBlocking);
}

cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, std::size_t bytes, std::size_t offset,
                                      cudaMemcpyKind kind, cudaStream_t stream) {
  return copy_from_symbol(__func__, to, symbol, bytes, offset, kind, stream, Synchrony::kAsynchronous);
}

cudaError_t cudaGetSymbolAddress(void** address, const void* symbol) {
  return call(__func__, [&](Gpu& gpu) { *address = symbol_bytes(gpu, symbol, 0, 0); });
}

cudaError_t cudaGetSymbolSize(std::size_t* bytes, const void* symbol) {
  return call(__func__, [&](Gpu& gpu) {
    *bytes =
        Modules::of_process().variable(symbol, gpu.devices.arch(), gpu.global, gpu.streams.between_operations()).bytes;
  });
}

}  // extern "C"
