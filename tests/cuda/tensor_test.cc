#include "cuda/core/tensor.h"

#include <vector>

#include <gtest/gtest.h>

#include "cuda/core/shape_only.h"
#include "cuda/ops/shape_only.h"

namespace trireme {
namespace {

Tensor tensor(const Shape& shape, DType dtype) { return {ShapeOnlyDevice::base(), dtype, shape}; }

TEST(Shape, AScalarHasOneElementAndAnEmptyDimNone) {
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ((Shape{3, 0, 5}).elements(), 0);
  EXPECT_EQ(to_string(Shape{2, 3}), "[2, 3]");
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_FALSE((Shape{2, 3}) == (Shape{2, 3, 1}));
  EXPECT_FALSE((Shape{2, 3}) == (Shape{3, 2}));
}

TEST(Tensor, RowsAndFlatRangesPointIntoTheSameMemory) {
  const Tensor x = tensor({4, 3, 5}, DType::kBF16);
  EXPECT_EQ(x.bytes(), 120u);
  const Tensor rows = x.rows(1, 3);
  EXPECT_EQ(rows.data - x.data, 1 * 15 * 2);
  EXPECT_EQ(rows.shape, (Shape{2, 3, 5}));
  const Tensor flat = x.flat(7, 20);
  EXPECT_EQ(flat.data - x.data, 7 * 2);
  EXPECT_EQ(flat.shape, (Shape{13}));
  EXPECT_EQ(x.rows(4, 4).elements(), 0);
  EXPECT_EQ(x.view({2, 30}).data, x.data);
}

TEST(TensorDeathTest, RefusesWhatLiesOutside) {
  const Tensor x = tensor({4, 3}, DType::kF32);
  EXPECT_DEATH(static_cast<void>(x.rows(2, 5)), "rows 2 to 5 of \\[4, 3\\]");
  EXPECT_DEATH(static_cast<void>(x.rows(3, 2)), "rows 3 to 2");
  EXPECT_DEATH(static_cast<void>(x.view({5})), "\\[4, 3\\] viewed as \\[5\\]");
  EXPECT_DEATH(static_cast<void>(x.size(2)), "dim 2 of 2");
  EXPECT_DEATH(Shape({1, 2, 3, 4, 5, 6}), "6 dims");
  EXPECT_DEATH(Shape({-1}), "size -1");
}

TEST(ShapeOnly, FollowsNoAddress) {
  ShapeOnlyDevice device;
  const Kernels& ops = shape_only_kernels();
  const Tensor x = tensor({1 << 20, 1 << 20}, DType::kBF16);
  const Stream stream = device.create_stream(StreamKind::kCompute, "s");
  ops.gelu_forward(stream, x, x);
  ops.linear_forward(stream, x, x, x, {}, {}, Order::kFast);
  ops.sum_tree(stream, x, std::vector<Tensor>{x, x});
  device.upload(stream, x, nullptr);
  device.synchronize(stream);
}

TEST(ShapeOnly, HasEveryOp) {
  const Kernels& ops = shape_only_kernels();
  const auto* entries = reinterpret_cast<void (*const*)()>(&ops);
  for (std::size_t slot = 0; slot < sizeof ops / sizeof *entries; ++slot) EXPECT_NE(entries[slot], nullptr) << slot;
}

}  // namespace
}  // namespace trireme
