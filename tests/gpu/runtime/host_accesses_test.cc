// What the host may do with pinned memory beside asynchronous copies. No finding may depend on whether a copy has run.
#include <atomic>
#include <cstring>

#include "tests/gpu/runtime/scoped.h"

namespace trireme::gpu {
namespace {

constexpr std::size_t kBytes = 10000;  // of three pages

// A copy from pinned memory, or into it; then `host(pinned memory, stream)`.
template <class Host>
void beside_a_copy(cudaMemcpyKind kind, const Host& host) {
  const ScopedBytes memory(std::vector<float>(kBytes / sizeof(float), 2.0F));
  const ScopedPinned pinned(kBytes);
  const ScopedStream stream;
  auto* bytes = static_cast<char*>(pinned.memory);
  std::memset(bytes, 1, kBytes);
  const bool upload = kind == cudaMemcpyHostToDevice;
  cudaMemcpyAsync(upload ? memory.memory : bytes, upload ? bytes : memory.memory, kBytes, kind, stream);
  host(bytes, stream.handle);
}

// To be a read that is not left out.
char read(const char* from) { return *static_cast<const volatile char*>(from); }

struct Reading {
  const char* from = nullptr;
  std::atomic<bool> done{false};
};
void CUDART_CB read_last(void* given) {
  auto* reading = static_cast<Reading*>(given);
  read(reading->from);
  reading->done = true;
}

TEST(GpuHostAccess, WhatACopyReadsMayBeReadButNotWritten) {
  beside_a_copy(cudaMemcpyHostToDevice, [](char* bytes, cudaStream_t) { EXPECT_EQ(read(bytes + 5000), 1); });
  for (const std::size_t at : {std::size_t{0}, std::size_t{5000}, kBytes - 1})
    EXPECT_FINDING(beside_a_copy(cudaMemcpyHostToDevice, [&](char* bytes, cudaStream_t) { bytes[at] = 3; }),
                   "host code writes pinned memory at 0x.*, which cudaMemcpyAsync .host to device, 10000 bytes. on "
                   "stream . reads, and nothing has waited for that");
}

TEST(GpuHostAccess, WhatACopyWritesMayNotBeTouched) {
  EXPECT_FINDING(beside_a_copy(cudaMemcpyDeviceToHost, [](char* bytes, cudaStream_t) { read(bytes + 7); }),
                 "host code reads or writes pinned memory at 0x.*, which cudaMemcpyAsync .device to host, 10000 bytes. "
                 "on stream . writes");
  EXPECT_FINDING(beside_a_copy(cudaMemcpyDeviceToHost, [](char* bytes, cudaStream_t) { bytes[kBytes - 1] = 3; }),
                 "host code reads or writes pinned memory");
}

TEST(GpuHostAccess, AllOfItMayBeTouchedOnceTheHostHasWaited) {
  const auto waits = {+[](cudaStream_t stream) { cudaStreamSynchronize(stream); },
                      +[](cudaStream_t stream) {
                        while (cudaStreamQuery(stream) == cudaErrorNotReady) continue;
                        cudaGetLastError();
                      },
                      +[](cudaStream_t stream) {
                        const ScopedEvent event;
                        cudaEventRecord(event, stream);
                        cudaEventSynchronize(event);
                      }};
  for (const auto wait : waits)
    for (const cudaMemcpyKind kind : {cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost})
      beside_a_copy(kind, [&](char* bytes, cudaStream_t stream) {
        wait(stream);
        std::memset(bytes, 3, kBytes);
      });
}

TEST(GpuHostAccess, AnEventRecordedBeforeTheCopyIsNotEnough) {
  EXPECT_FINDING(
      {
        const ScopedBytes memory(kBytes);
        const ScopedPinned pinned(kBytes);
        const ScopedStream stream;
        const ScopedEvent event;
        cudaEventRecord(event, stream);
        cudaMemcpyAsync(memory.memory, pinned.memory, kBytes, cudaMemcpyHostToDevice, stream);
        cudaEventSynchronize(event);
        std::memset(pinned.memory, 3, kBytes);
      },
      "host code writes pinned memory");
}

TEST(GpuHostAccess, WhatLiesBesideTheBytesOfACopyMayBeTouched) {
  const ScopedBytes memory(kBytes);
  const ScopedPinned pinned(kBytes);
  const ScopedStream stream;
  auto* bytes = static_cast<char*>(pinned.memory);
  std::memset(bytes, 1, kBytes);
  cudaMemcpyAsync(memory.memory, bytes + 1000, 5000, cudaMemcpyHostToDevice, stream);
  bytes[999] = bytes[6000] = 3;
  cudaMemcpyAsync(bytes + 6100, memory.at(0), 100, cudaMemcpyDeviceToHost, stream);
  EXPECT_EQ(read(bytes + 6099) + read(bytes + 6200), 2);
  EXPECT_EQ(read(bytes + 1000), 1);
}

TEST(GpuHostAccess, AHostFunctionBehindTheCopyMayReadWhatItBroughtAndNobodyElse) {
  Reading reading;
  const auto read_behind = [&](char* bytes, cudaStream_t stream) {
    reading.from = bytes + kBytes - 1;
    reading.done = false;
    cudaLaunchHostFunc(stream, read_last, &reading);
  };
  beside_a_copy(cudaMemcpyDeviceToHost, read_behind);
  EXPECT_TRUE(reading.done);
  EXPECT_FINDING(beside_a_copy(cudaMemcpyDeviceToHost,
                               [&](char* bytes, cudaStream_t stream) {
                                 read_behind(bytes, stream);
                                 while (!reading.done) continue;
                                 cudaStreamQuery(nullptr);  // another stream
                                 read(reading.from);
                                 read(bytes);
                               }),
                 "host code reads or writes pinned memory");
}

TEST(GpuHostAccess, AHostFunctionOfAnotherStreamNeedsAnEvent) {
  const auto read_beside = [](bool ordered) {
    beside_a_copy(cudaMemcpyDeviceToHost, [&](char* bytes, cudaStream_t stream) {
      Reading reading;
      reading.from = bytes;
      const ScopedStream other;
      const ScopedEvent event;
      cudaEventRecord(event, stream);
      if (ordered) cudaStreamWaitEvent(other, event, 0);
      cudaLaunchHostFunc(other, read_last, &reading);
      cudaStreamSynchronize(other);
    });
  };
  read_beside(true);
  EXPECT_FINDING(read_beside(false), "host code reads or writes pinned memory");
}

}  // namespace
}  // namespace trireme::gpu
