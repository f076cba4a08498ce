#include "tests/gpu/runtime/copies.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace trireme::gpu {
namespace {

struct Direction {
  bool from_device = false;
  bool to_device = false;

  std::string text() const {
    return std::string(from_device ? "device" : "host") + " to " + (to_device ? "device" : "host");
  }
};

Direction direction(const Memory& memory, const void* to, const void* from, cudaMemcpyKind kind) {
  const Direction found{memory.side(from) == Side::kDevice, memory.side(to) == Side::kDevice};
  if (kind == cudaMemcpyDefault) return found;
  Direction said;
  switch (kind) {
    case cudaMemcpyHostToHost:
      break;
    case cudaMemcpyHostToDevice:
      said.to_device = true;
      break;
    case cudaMemcpyDeviceToHost:
      said.from_device = true;
      break;
    case cudaMemcpyDeviceToDevice:
      said.from_device = said.to_device = true;
      break;
    default:
      throw Refusal(cudaErrorInvalidMemcpyDirection, std::to_string(kind) + " is no kind of copy");
  }
  if (said.from_device != found.from_device || said.to_device != found.to_device)
    throw Refusal(cudaErrorInvalidValue, "the kind says " + said.text() + ", but the addresses are " + found.text() +
                                             " (to " + hex(to) + ", from " + hex(from) + ")");
  return found;
}

}  // namespace

void copy(Gpu& gpu, void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t handle,
          Synchrony synchrony) {
  const bool blocking = synchrony == Synchrony::kBlocking;
  const char* function = blocking ? "cudaMemcpy" : "cudaMemcpyAsync";
  CUstream_st* stream = gpu.stream(handle);
  if (bytes == 0) return;
  if (to == nullptr || from == nullptr) throw Refusal(cudaErrorInvalidValue, "a copy to or from a null pointer");
  const Direction way = direction(gpu.memory, to, from, kind);
  const std::string label = std::string(function) + " (" + way.text() + ", " + std::to_string(bytes) +
                            " bytes) on stream " + std::to_string(stream->id);
  Report::of_process().count("copies");

  Clock before;  // of the copy
  const auto ordered = [&](const Operation& operation) {
    before = *operation.before;
    if (!way.from_device) gpu.memory.host_bytes_used(operation, from, bytes, false);
    if (!way.to_device) gpu.memory.host_bytes_used(operation, to, bytes, true);
  };
  const bool pageable = (!way.from_device && gpu.memory.side(from) == Side::kPageable) ||
                        (!way.to_device && gpu.memory.side(to) == Side::kPageable);
  auto taken = std::make_shared<std::vector<std::byte>>();
  if (!way.from_device && pageable) {
    taken->assign(static_cast<const std::byte*>(from), static_cast<const std::byte*>(from) + bytes);
  }
  const std::byte* host_source = way.from_device || !taken->empty() ? nullptr : gpu.memory.own_view(from);
  std::byte* host_target = way.to_device ? nullptr : gpu.memory.own_view(to);
  gpu.streams.enqueue(
      stream, label,
      [&gpu, to, from, bytes, way, taken, host_source, host_target](const Operation& operation) {
        const void* source = way.from_device          ? gpu.global.read(operation, from, bytes)
                             : host_source != nullptr ? host_source
                                                      : taken->data();
        void* target = way.to_device ? gpu.global.write(operation, to, bytes) : host_target;
        std::memmove(target, source, bytes);
        return Progress::kDone;
      },
      ordered);

  if (way.from_device && way.to_device) return;  // asynchronous in both forms
  if (!blocking && !pageable) return;
  Report::of_process().host_synchronised(blocking ? "cudaMemcpy" : "cudaMemcpyAsync of pageable memory");
  if (!way.from_device && !way.to_device) {
    gpu.streams.synchronize(stream);
  } else if (!blocking) {
    if (way.from_device) gpu.streams.synchronize(stream, Clock{});  // the bytes are there; nothing is promised
  } else if (pageable && way.to_device) {
    gpu.streams.synchronize(stream, before);  // the last transfer to the device may still be under way
  } else {
    gpu.streams.synchronize(stream);
  }
}

void fill(Gpu& gpu, void* to, int value, std::size_t bytes, cudaStream_t handle) {
  CUstream_st* stream = gpu.stream(handle);
  if (bytes == 0) return;
  if (gpu.memory.side(to) != Side::kDevice)
    throw Refusal(cudaErrorInvalidValue, hex(to) + " is no device memory; use memset for host memory");
  Report::of_process().count("memsets");
  gpu.streams.enqueue(stream,
                      "cudaMemset (" + std::to_string(bytes) + " bytes) on stream " + std::to_string(stream->id),
                      [&gpu, to, value, bytes](const Operation& operation) {
                        std::memset(gpu.global.write(operation, to, bytes), value, bytes);
                        return Progress::kDone;
                      });
}

}  // namespace trireme::gpu
