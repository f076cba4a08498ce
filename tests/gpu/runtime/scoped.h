// For the stand-in's own tests: CUDA's handles that end with their scope, and a finding as an expectation.
#pragma once

#include <cstdlib>
#include <vector>

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "tests/gpu/memory/fault.h"

// The statement, in a process of its own that starts from scratch, ends with a finding that says TEXT.
#define EXPECT_FINDING(statement, text)                               \
  do {                                                                \
    GTEST_FLAG_SET(death_test_style, "threadsafe");                   \
    EXPECT_EXIT(                                                      \
        {                                                             \
          statement;                                                  \
          std::exit(0);                                               \
        },                                                            \
        testing::ExitedWithCode(trireme::gpu::kFaultExitCode), text); \
  } while (false)

// The statement, in such a process, ends it with 0: for settings, which are read once.
#define EXPECT_HOLDS(statement)                     \
  do {                                              \
    GTEST_FLAG_SET(death_test_style, "threadsafe"); \
    EXPECT_EXIT(                                    \
        {                                           \
          statement;                                \
          std::exit(0);                             \
        },                                          \
        testing::ExitedWithCode(0), "");            \
  } while (false)
#define HOLD(condition) \
  if (!(condition)) std::_Exit(1)

namespace trireme::gpu {

struct ScopedStream {
  explicit ScopedStream(unsigned flags = cudaStreamNonBlocking) { cudaStreamCreateWithFlags(&handle, flags); }
  ~ScopedStream() {
    cudaStreamSynchronize(handle);
    cudaStreamDestroy(handle);
  }
  ScopedStream(const ScopedStream&) = delete;
  ScopedStream& operator=(const ScopedStream&) = delete;
  operator cudaStream_t() const { return handle; }
  cudaStream_t handle = nullptr;
};

struct ScopedEvent {
  explicit ScopedEvent(unsigned flags = cudaEventDisableTiming) { cudaEventCreateWithFlags(&handle, flags); }
  ~ScopedEvent() { cudaEventDestroy(handle); }
  ScopedEvent(const ScopedEvent&) = delete;
  ScopedEvent& operator=(const ScopedEvent&) = delete;
  operator cudaEvent_t() const { return handle; }
  cudaEvent_t handle = nullptr;
};

struct ScopedPinned {
  explicit ScopedPinned(std::size_t bytes) { cudaHostAlloc(&memory, bytes, cudaHostAllocDefault); }
  ~ScopedPinned() { cudaFreeHost(memory); }
  ScopedPinned(const ScopedPinned&) = delete;
  ScopedPinned& operator=(const ScopedPinned&) = delete;
  void* memory = nullptr;
};

// Bytes on the device, written before the constructor returns if values are given.
struct ScopedBytes {
  explicit ScopedBytes(std::size_t count) : bytes(count) { cudaMalloc(&memory, count); }
  explicit ScopedBytes(const std::vector<float>& values) : ScopedBytes(values.size() * sizeof(float)) {
    cudaMemcpy(memory, values.data(), bytes, cudaMemcpyHostToDevice);
    cudaDeviceSynchronize();
  }
  ~ScopedBytes() { cudaFree(memory); }
  ScopedBytes(const ScopedBytes&) = delete;
  ScopedBytes& operator=(const ScopedBytes&) = delete;
  std::vector<float> floats() const {
    std::vector<float> values(bytes / sizeof(float));
    cudaMemcpy(values.data(), memory, bytes, cudaMemcpyDeviceToHost);
    return values;
  }
  char* at(std::size_t byte) const { return static_cast<char*>(memory) + byte; }
  std::size_t bytes;
  void* memory = nullptr;
};

}  // namespace trireme::gpu
