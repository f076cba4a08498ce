#include "tests/gpu/runtime/streams.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/gpu/runtime/report.h"
#include "tests/gpu/runtime/scoped.h"

namespace trireme::gpu {
namespace {

constexpr std::size_t kBytes = 4096;

TEST(GpuStreams, RunWorkInOrderWhileTheHostDoesSomethingElse) {
  const ScopedBytes memory(kBytes);
  const ScopedPinned host(kBytes);
  const ScopedStream stream;
  static_cast<char*>(host.memory)[7] = 1;
  for (int value = 0; value < 50; ++value) cudaMemsetAsync(memory.memory, value, kBytes, stream);
  cudaMemcpyAsync(host.memory, memory.memory, kBytes, cudaMemcpyDeviceToHost, stream);
  while (cudaStreamQuery(stream) == cudaErrorNotReady) std::this_thread::sleep_for(std::chrono::microseconds(50));
  EXPECT_EQ(cudaGetLastError(), cudaErrorNotReady);
  EXPECT_EQ(static_cast<char*>(host.memory)[7], 49);
}

// What the first stream writes the second one copies; `order` puts something between them.
template <class Order>
void write_then_copy(const Order& order) {
  const ScopedBytes memory(kBytes);
  const ScopedBytes other(kBytes);
  const ScopedStream first;
  const ScopedStream second;
  cudaMemsetAsync(memory.memory, 1, kBytes, first);
  order(first.handle, second.handle);
  cudaMemcpyAsync(other.memory, memory.memory, kBytes, cudaMemcpyDeviceToDevice, second);
  cudaDeviceSynchronize();
}

TEST(GpuStreams, TwoStreamsWithoutAnEventBetweenThemAreFoundWithEverySeed) {
  for (const char* seed : {"1", "2", "3", "4", "5"})
    EXPECT_FINDING((setenv("TRIREME_GPU_SEED", seed, 1), write_then_copy([](cudaStream_t, cudaStream_t) {})),
                   "gpu stand-in: .*cudaMemcpyAsync");
}

TEST(GpuStreams, AnEventOrdersThem) {
  write_then_copy([](cudaStream_t first, cudaStream_t second) {
    const ScopedEvent event;
    cudaEventRecord(event, first);
    cudaStreamWaitEvent(second, event, 0);
  });
}

TEST(GpuStreams, AnEventRecordedTooEarlyDoesNot) {
  EXPECT_FINDING(
      {
        const ScopedBytes memory(kBytes);
        const ScopedBytes other(kBytes);
        const ScopedStream first;
        const ScopedStream second;
        const ScopedEvent event;
        cudaEventRecord(event, first);
        cudaMemsetAsync(memory.memory, 1, kBytes, first);
        cudaStreamWaitEvent(second, event, 0);
        cudaMemcpyAsync(other.memory, memory.memory, kBytes, cudaMemcpyDeviceToDevice, second);
        cudaDeviceSynchronize();
      },
      "gpu stand-in: ");
}

TEST(GpuStreams, AnEventThatWasNeverRecordedDoesNot) {
  EXPECT_FINDING(write_then_copy([](cudaStream_t, cudaStream_t second) {
                   const ScopedEvent event;
                   cudaStreamWaitEvent(second, event, 0);
                 }),
                 "gpu stand-in: ");
}

TEST(GpuStreams, TheHostOrdersThemByWaiting) {
  write_then_copy([](cudaStream_t first, cudaStream_t) { cudaStreamSynchronize(first); });
  write_then_copy([](cudaStream_t, cudaStream_t) { cudaDeviceSynchronize(); });
  write_then_copy([](cudaStream_t first, cudaStream_t) {
    const ScopedEvent event;
    cudaEventRecord(event, first);
    cudaEventSynchronize(event);
  });
  write_then_copy([](cudaStream_t first, cudaStream_t) {
    while (cudaStreamQuery(first) != cudaSuccess) std::this_thread::yield();
  });
}

TEST(GpuStreams, TimePassingDoesNotOrderThem) {
  EXPECT_FINDING(
      write_then_copy([](cudaStream_t, cudaStream_t) { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }),
      "gpu stand-in: ");
}

TEST(GpuStreams, TheDefaultStreamWaitsForBlockingOnesAndTheyForIt) {
  const ScopedBytes memory(kBytes);
  const ScopedStream first(cudaStreamDefault);
  const ScopedStream second(cudaStreamDefault);
  cudaMemsetAsync(memory.memory, 1, kBytes, first);
  cudaMemsetAsync(memory.memory, 2, kBytes, nullptr);
  cudaMemsetAsync(memory.memory, 3, kBytes, second);
  cudaDeviceSynchronize();
  EXPECT_FINDING(
      {
        const ScopedBytes bytes(kBytes);
        const ScopedStream apart(cudaStreamNonBlocking);
        cudaMemsetAsync(bytes.memory, 1, kBytes, apart);
        cudaMemsetAsync(bytes.memory, 2, kBytes, nullptr);
        cudaDeviceSynchronize();
      },
      "gpu stand-in: ");
}

TEST(GpuStreams, HostFunctionsRunInOrderAndMayWaitForOtherStreams) {
  static std::atomic<int> seen{0};
  const ScopedStream first;
  const ScopedStream second;
  cudaLaunchHostFunc(
      first,
      [](void*) {
        while (seen.load() == 0) std::this_thread::yield();  // what the other stream's copy does not need to wait for
        seen = 2;
      },
      nullptr);
  const ScopedBytes memory(kBytes);
  cudaMemsetAsync(memory.memory, 1, kBytes, second);
  cudaStreamSynchronize(second);
  EXPECT_EQ(seen, 0);
  seen = 1;
  cudaStreamSynchronize(first);
  EXPECT_EQ(seen, 2);
}

TEST(GpuStreams, AHostFunctionMayNotCallCuda) {
  static std::atomic<int> answer{-1};
  const ScopedStream stream;
  cudaLaunchHostFunc(
      stream, [](void*) { answer = cudaStreamQuery(nullptr); }, nullptr);
  cudaStreamSynchronize(stream);
  EXPECT_EQ(answer, cudaErrorNotPermitted);
}

TEST(GpuStreams, EventsMeasureTimeUnlessToldNotTo) {
  const ScopedStream stream;
  const ScopedEvent from(cudaEventDefault);
  const ScopedEvent to(cudaEventDefault);
  const ScopedEvent without;
  cudaEventRecord(from, stream);
  cudaLaunchHostFunc(
      stream, [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }, nullptr);
  cudaEventRecord(to, stream);
  cudaEventRecord(without, stream);
  float milliseconds = 0;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, from, to), cudaErrorNotReady);
  cudaStreamSynchronize(stream);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, from, to), cudaSuccess);
  EXPECT_GE(milliseconds, 5.0F);
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, from, without), cudaErrorInvalidResourceHandle);
}

TEST(GpuStreams, RefuseHandlesThatWereDestroyed) {
  cudaStream_t stream = nullptr;
  cudaEvent_t event = nullptr;
  cudaStreamCreate(&stream);
  cudaEventCreate(&event);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventRecord(event, nullptr), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaPeekAtLastError(), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidResourceHandle);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST(GpuStreams, EveryWaitOfTheHostIsCounted) {
  const ScopedStream stream;
  const ScopedEvent event;
  const std::uint64_t before = Report::of_process().host_synchronisations();
  cudaEventRecord(event, stream);
  cudaStreamWaitEvent(stream, event, 0);
  EXPECT_EQ(Report::of_process().host_synchronisations(), before);
  cudaStreamSynchronize(stream);
  cudaEventSynchronize(event);
  cudaDeviceSynchronize();
  EXPECT_EQ(Report::of_process().host_synchronisations(), before + 3);
}

TEST(GpuStreams, AStreamLeftBehindIsALeak) {
  EXPECT_FINDING(
      {
        cudaStream_t stream = nullptr;
        cudaStreamCreate(&stream);
      },
      "left behind at exit: 1 stream.s. were not destroyed");
}

TEST(GpuStreams, WorkThatNobodyWaitedForIsALeak) {
  EXPECT_FINDING(
      {
        cudaStream_t stream = nullptr;
        cudaStreamCreate(&stream);
        cudaLaunchHostFunc(
            stream, [](void*) {}, nullptr);
        cudaStreamDestroy(stream);
      },
      "nobody waited for the work on stream");
}

}  // namespace
}  // namespace trireme::gpu
