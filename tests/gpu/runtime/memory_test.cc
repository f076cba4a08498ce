#include "tests/gpu/runtime/memory.h"

#include <numeric>

#include "tests/gpu/runtime/report.h"
#include "tests/gpu/runtime/scoped.h"

namespace trireme::gpu {
namespace {

constexpr std::size_t kBytes = 4096;

std::vector<float> counted(std::size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0F);
  return values;
}

TEST(GpuMemory, CopiesArriveInEveryDirection) {
  const std::vector<float> values = counted(1001);
  const ScopedBytes first(values);
  const ScopedBytes second(first.bytes);
  const ScopedPinned pinned(first.bytes);
  const ScopedStream stream;
  ASSERT_EQ(cudaMemcpyAsync(second.memory, first.memory, first.bytes, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(pinned.memory, second.memory, first.bytes, cudaMemcpyDefault, stream), cudaSuccess);
  cudaStreamSynchronize(stream);
  const auto* arrived = static_cast<const float*>(pinned.memory);
  EXPECT_EQ(std::vector<float>(arrived, arrived + values.size()), values);
  EXPECT_EQ(second.floats(), values);
}

TEST(GpuMemory, PageableBytesAreTakenWhenTheCallReturns) {
  std::vector<float> values = counted(100);
  const ScopedBytes memory(values.size() * sizeof(float));
  const ScopedStream stream;
  cudaMemcpyAsync(memory.memory, values.data(), memory.bytes, cudaMemcpyHostToDevice, stream);
  values.assign(values.size(), 0.0F);
  cudaStreamSynchronize(stream);
  EXPECT_EQ(memory.floats(), counted(100));
}

TEST(GpuMemory, KindsAreHeldAgainstTheAddresses) {
  const ScopedBytes device(kBytes);
  std::vector<char> host(kBytes);
  EXPECT_EQ(cudaMemcpy(host.data(), device.memory, kBytes, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.memory, host.data(), kBytes, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.memory, host.data(), kBytes, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.memory, nullptr, kBytes, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(device.memory, host.data(), kBytes, static_cast<cudaMemcpyKind>(7)),
            cudaErrorInvalidMemcpyDirection);
  EXPECT_EQ(cudaMemset(host.data(), 0, kBytes), cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST(GpuMemory, ACopyIntoTheDeviceFromPageableMemoryIsNotOrderedByItsReturn) {
  EXPECT_FINDING(
      {
        const std::vector<float> values = counted(100);
        const ScopedBytes memory(values.size() * sizeof(float));
        const ScopedStream stream;
        cudaMemcpy(memory.memory, values.data(), memory.bytes, cudaMemcpyHostToDevice);
        cudaMemsetAsync(memory.memory, 0, memory.bytes, stream);
        cudaDeviceSynchronize();
      },
      "gpu stand-in: ");
}

TEST(GpuMemory, BytesPastTheEndAreFound) {
  EXPECT_FINDING(
      {
        const ScopedBytes memory(kBytes);
        cudaMemset(memory.memory, 0, kBytes + 1);
        cudaDeviceSynchronize();
      },
      "gpu stand-in: .*cudaMemset");
}

TEST(GpuMemory, BytesThatNobodyWroteAreFound) {
  EXPECT_FINDING(
      {
        const ScopedBytes memory(kBytes);
        cudaMemset(memory.memory, 0, kBytes - 1);
        std::vector<char> host(kBytes);
        cudaMemcpy(host.data(), memory.memory, kBytes, cudaMemcpyDeviceToHost);
      },
      "gpu stand-in: .*device to host");
}

TEST(GpuMemory, UseAfterFreeIsFoundAndADoubleFreeRefused) {
  EXPECT_FINDING(
      {
        void* memory = nullptr;
        cudaMalloc(&memory, kBytes);
        cudaFree(memory);
        HOLD(cudaFree(memory) == cudaErrorInvalidValue);
        cudaMemset(memory, 0, kBytes);
        cudaDeviceSynchronize();
      },
      "gpu stand-in: .*cudaMemset");
}

TEST(GpuMemory, FreeInStreamOrderWaitsForThatStreamOnly) {
  const ScopedStream stream;
  void* memory = nullptr;
  ASSERT_EQ(cudaMallocAsync(&memory, kBytes, stream), cudaSuccess);
  cudaMemsetAsync(memory, 0, kBytes, stream);
  EXPECT_EQ(cudaFreeAsync(memory, stream), cudaSuccess);
  cudaStreamSynchronize(stream);
  EXPECT_FINDING(
      {
        const ScopedStream first;
        const ScopedStream second;
        void* bytes = nullptr;
        cudaMalloc(&bytes, kBytes);
        cudaMemsetAsync(bytes, 0, kBytes, first);
        cudaFreeAsync(bytes, second);
        cudaDeviceSynchronize();
      },
      "gpu stand-in: ");
}

TEST(GpuMemory, PinnedMemoryMayNotBeFreedUnderACopy) {
  EXPECT_FINDING(
      {
        const ScopedBytes memory(counted(100));
        const ScopedStream stream;
        void* pinned = nullptr;
        cudaHostAlloc(&pinned, memory.bytes, 0);
        cudaMemcpyAsync(pinned, memory.memory, memory.bytes, cudaMemcpyDeviceToHost, stream);
        cudaFreeHost(pinned);
      },
      "was freed while cudaMemcpyAsync .device to host, 400 bytes. on stream");
}

TEST(GpuMemory, TwoCopiesOfOnePinnedBufferNeedAnOrder) {
  EXPECT_FINDING(
      {
        const ScopedBytes memory(counted(100));
        const ScopedPinned pinned(memory.bytes);
        const ScopedStream first;
        const ScopedStream second;
        cudaMemcpyAsync(pinned.memory, memory.memory, memory.bytes, cudaMemcpyDeviceToHost, first);
        cudaMemcpyAsync(memory.memory, pinned.memory, memory.bytes, cudaMemcpyHostToDevice, second);
        cudaDeviceSynchronize();
      },
      "both use pinned memory .*no event or synchronisation orders them");
}

TEST(GpuMemory, PinnedMemoryEndsWhereItEnds) {
  EXPECT_FINDING(
      {
        const ScopedBytes memory(kBytes);
        const ScopedPinned pinned(kBytes - 8);
        const ScopedStream stream;
        cudaMemcpyAsync(memory.memory, pinned.memory, kBytes, cudaMemcpyHostToDevice, stream);
      },
      "reaches 8 bytes past the end of pinned memory");
}

TEST(GpuMemory, AnAddressTellsWhoseItIs) {
  const ScopedBytes device(kBytes);
  const ScopedPinned pinned(kBytes);
  char local = 0;
  cudaPointerAttributes attributes;
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, device.at(100)), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, pinned.memory), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, &local), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
}

TEST(GpuMemory, ADeviceHasSoMuchAndWhatOthersHoldIsNotThere) {
  EXPECT_HOLDS({
    setenv("TRIREME_GPU_MEMORY", "1000000", 1);
    setenv("TRIREME_GPU_HELD", "600000", 1);
    std::size_t left = 0;
    std::size_t total = 0;
    HOLD(cudaMemGetInfo(&left, &total) == cudaSuccess && left == 400000 && total == 1000000);
    void* memory = nullptr;
    HOLD(cudaMalloc(&memory, 400001) == cudaErrorMemoryAllocation);
    HOLD(cudaMalloc(&memory, 300000) == cudaSuccess);
    cudaMemGetInfo(&left, &total);
    HOLD(left == 100000);
    HOLD(cudaFree(memory) == cudaSuccess);
    cudaMemGetInfo(&left, &total);
    HOLD(left == 400000);
  });
}

TEST(GpuMemory, TheHostMayNotFollowADevicePointer) {
  EXPECT_FINDING(
      {
        const ScopedBytes memory(counted(10));
        volatile float* pointer = static_cast<float*>(memory.memory);
        std::exit(pointer[3] == 4.0F ? 0 : 1);
      },
      "host code read or wrote device memory: address 0x");
}

TEST(GpuMemory, MemoryLeftBehindIsALeak) {
  EXPECT_FINDING(
      {
        void* memory = nullptr;
        cudaMalloc(&memory, 12345);
      },
      "left behind at exit: 12345 bytes of device memory at 0x.* were not freed");
}

TEST(GpuMemory, CallsThatMayWaitAreCounted) {
  const ScopedBytes memory(kBytes);
  const ScopedPinned pinned(kBytes);
  const ScopedStream stream;
  std::vector<char> pageable(kBytes);
  const std::uint64_t before = Report::of_process().host_synchronisations();
  cudaMemsetAsync(memory.memory, 0, kBytes, stream);
  cudaMemcpyAsync(pinned.memory, memory.memory, kBytes, cudaMemcpyDeviceToHost, stream);
  EXPECT_EQ(Report::of_process().host_synchronisations(), before);
  cudaMemcpyAsync(pageable.data(), memory.memory, kBytes, cudaMemcpyDeviceToHost, stream);
  EXPECT_EQ(Report::of_process().host_synchronisations(), before + 1);
}

}  // namespace
}  // namespace trireme::gpu
