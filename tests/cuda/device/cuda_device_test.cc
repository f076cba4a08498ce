// What CUDA's Device promises beyond arithmetic: order between streams, uploads that have taken their source, tasks and
// their failures.
#include <cstdint>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/back_end.h"

namespace trireme {
namespace {

// Skips where there is no GPU, nor a stand-in.
class CudaDevice : public testing::Test {
 protected:
  void SetUp() override {
    back_end_ = open_back_end(BackEndChoice::kAuto, {}, 0, 1);
    if (!back_end_.is_cuda) GTEST_SKIP() << "needs nvcc: " << back_end_.description;
    compute_ = device().create_stream(StreamKind::kCompute, "compute");
    other_ = device().create_stream(StreamKind::kCommunication, "communication");
  }
  void TearDown() override {
    if (!back_end_.is_cuda) return;
    device().destroy_stream(compute_);
    device().destroy_stream(other_);
    for (std::byte* block : blocks_) device().release(block);
  }

  Device& device() { return *back_end_.device; }
  const Kernels& ops() { return *back_end_.kernels; }
  Tensor place(DType dtype, std::int64_t elements) {
    blocks_.push_back(device().allocate(static_cast<std::size_t>(elements) * bytes_of(dtype)));
    return {blocks_.back(), dtype, {elements}};
  }

  BackEnd back_end_;
  Stream compute_, other_;
  std::vector<std::byte*> blocks_;
};

std::vector<float> counting(std::int64_t n, float from) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), from);
  return values;
}

TEST_F(CudaDevice, AnUploadHasTakenItsSourceWhenItReturns) {
  constexpr std::int64_t kElements = (std::int64_t{3} << 20) + 5;  // of several pieces
  const Tensor x = place(DType::kF32, kElements);
  const std::vector<float> want = counting(kElements, 0);
  std::vector<float> source = want, got(source.size());
  device().upload(compute_, x, source.data());
  std::fill(source.begin(), source.end(), -1.0f);
  device().download(compute_, got.data(), x);
  device().synchronize(compute_);
  EXPECT_TRUE(got == want);
}

TEST_F(CudaDevice, MoreUploadsThanTheStagingRingHoldsWaitForOneAnother) {
  constexpr std::int64_t kElements = std::int64_t{1} << 20;  // a piece of 4 MiB each
  std::vector<Tensor> tensors;
  for (int i = 0; i < 11; ++i) tensors.push_back(place(DType::kF32, kElements));
  for (std::size_t i = 0; i < tensors.size(); ++i)
    device().upload(i % 2 == 0 ? compute_ : other_, tensors[i], counting(kElements, static_cast<float>(i)).data());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<float> got(kElements);
    const Stream stream = i % 2 == 0 ? compute_ : other_;
    device().download(stream, got.data(), tensors[i]);
    device().synchronize(stream);
    EXPECT_TRUE(got == counting(kElements, static_cast<float>(i))) << i;
  }
}

TEST_F(CudaDevice, AnEventOrdersOneStreamBehindAnother) {
  constexpr std::int64_t kElements = 5000;
  const Tensor x = place(DType::kF32, kElements), y = place(DType::kF32, kElements);
  const Event filled = device().create_event();
  ops().fill(compute_, x, 3);
  device().record(compute_, filled);
  device().wait(other_, filled);
  ops().copy(other_, y, x);
  std::vector<float> got(kElements);
  device().download(other_, got.data(), y);
  device().synchronize(other_);
  device().synchronize(compute_);
  EXPECT_TRUE(got == std::vector<float>(kElements, 3.0f));
  device().destroy_event(filled);
}

TEST_F(CudaDevice, ATaskRunsBehindWhatIsOnItsStream) {
  const Tensor x = place(DType::kF32, 4);
  std::vector<float> got(4);
  float seen = 0;
  ops().fill(compute_, x, 7);
  device().download(compute_, got.data(), x);
  device().run(compute_, [&] { seen = got[3]; });
  device().synchronize(compute_);
  EXPECT_EQ(seen, 7.0f);
}

TEST_F(CudaDevice, WhatATaskThrowsComesOutOfSynchronizeAndTasksBehindItAreSkipped) {
  bool ran = false;
  device().run(compute_, [] { throw std::runtime_error("the third shard is missing"); });
  device().run(compute_, [&] { ran = true; });
  EXPECT_THROW(device().synchronize(compute_), std::runtime_error);
  EXPECT_FALSE(ran);
}

TEST_F(CudaDevice, MemoryIsAlignedToAPage) {
  for (std::int64_t elements : {1, 1000, 100000})
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(place(DType::kF32, elements).data) % 4096, 0u);
}

}  // namespace
}  // namespace trireme
