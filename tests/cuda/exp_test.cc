// The header says how far its functions are off; here they are measured, on every instruction set that this machine
// has.
#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)  // as cuda/CMakeLists.txt
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/cuda/exp_test.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/exp.h"
#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

void exp_all(std::vector<float>& x) {
  map(
      static_cast<std::int64_t>(x.size()), [](Vector v) HWY_ATTR { return exp(v); }, x.data(), x.data());
}
void sigmoid_all(std::vector<float>& x) {
  map(
      static_cast<std::int64_t>(x.size()), [](Vector v) HWY_ATTR { return sigmoid(v); }, x.data(), x.data());
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {
namespace {

HWY_EXPORT(exp_all);
HWY_EXPORT(sigmoid_all);

// Every `stride`-th fp32 of both signs up to `largest`.
std::vector<float> dense(std::uint32_t stride, float largest) {
  std::uint32_t end;
  std::memcpy(&end, &largest, sizeof end);
  std::vector<float> x;
  for (std::uint32_t bits = 0; bits <= end; bits += stride) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    x.push_back(value);
    x.push_back(-value);
  }
  return x;
}

double ulps(float got, double want) {
  int exponent;
  std::frexp(want, &exponent);
  return std::abs(static_cast<double>(got) - want) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

TEST(Exp, IsOffByAtMost1Point1UlpWhereItIsNormal) {
  const std::vector<float> x = dense(1999, 88.72283f);
  std::vector<float> y = x;
  HWY_DYNAMIC_DISPATCH(exp_all)(y);
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i] >= -87.33f) worst = std::max(worst, ulps(y[i], std::exp(static_cast<double>(x[i]))));
  EXPECT_LE(worst, 1.1);
  RecordProperty("worst_ulp", std::to_string(worst));
}

TEST(Exp, EndsInZeroInfinityAndNan) {
  std::vector<float> y = {-87.34f, -1000, -INFINITY, 88.73f, 1000, INFINITY, NAN, 0.0f, -0.0f};
  HWY_DYNAMIC_DISPATCH(exp_all)(y);
  for (int i : {0, 1, 2}) EXPECT_EQ(y[i], 0);
  for (int i : {3, 4, 5}) EXPECT_EQ(y[i], INFINITY);
  EXPECT_TRUE(std::isnan(y[6]));
  EXPECT_EQ(y[7], 1);
  EXPECT_EQ(y[8], 1);
}

TEST(Sigmoid, IsOffByAtMost2Point1UlpWhereItIsNormal) {
  const std::vector<float> x = dense(1999, 87.0f);
  std::vector<float> y = x;
  HWY_DYNAMIC_DISPATCH(sigmoid_all)(y);
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    worst = std::max(worst, ulps(y[i], 1 / (1 + std::exp(-static_cast<double>(x[i])))));
  EXPECT_LE(worst, 2.1);
  RecordProperty("worst_ulp", std::to_string(worst));
}

}  // namespace
}  // namespace trireme::host
#endif  // HWY_ONCE
