#include "tests/gpu/runtime/float16.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

namespace trireme::gpu {
namespace {

// The compiler's own 16-bit type is the reference.
TEST(GpuFloat16, EveryHalfIsReadAsTheCompilerReadsIt) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto narrow = static_cast<std::uint16_t>(bits);
    _Float16 half;
    std::memcpy(&half, &narrow, sizeof half);
    const auto expected = static_cast<float>(half);
    const float value = from_float16(narrow);
    EXPECT_TRUE(std::isnan(expected) ? std::isnan(value) : value == expected) << bits;
  }
}

TEST(GpuFloat16, FloatsAreRoundedAsTheCompilerRoundsThem) {
  std::mt19937 random(7);
  const auto check = [](float value) {
    const auto half = static_cast<_Float16>(value);
    std::uint16_t expected;
    std::memcpy(&expected, &half, sizeof expected);
    EXPECT_EQ(to_float16(value), expected) << value;
  };
  for (int i = 0; i < 200000; ++i) {
    const int exponent = static_cast<int>(random() % 46) - 28;
    check(std::ldexp(1.0F + static_cast<float>(random() % (1 << 23)) * 0x1p-23F, exponent) * (i % 2 == 0 ? 1 : -1));
  }
  for (std::uint32_t bits = 0; bits < 31744; ++bits) {  // ties between neighbours, and both sides of them
    const float middle = (from_float16(static_cast<std::uint16_t>(bits)) +
                          (bits == 31743 ? 65536.0F : from_float16(static_cast<std::uint16_t>(bits + 1)))) /
                         2;
    check(middle);
    check(std::nextafter(middle, 0.0F));
    check(std::nextafter(middle, INFINITY));
  }
  EXPECT_EQ(to_float16(INFINITY), 0x7c00);
  EXPECT_TRUE(std::isnan(from_float16(to_float16(NAN))));
}

TEST(GpuFloat16, Bfloat16RoundsToNearestTiesToEven) {
  EXPECT_EQ(to_bfloat16(1.0F), 0x3f80);
  EXPECT_EQ(to_bfloat16(1.00390625F), 0x3f80);  // halfway to 1.0078125, whose last bit is odd
  EXPECT_EQ(to_bfloat16(std::nextafter(1.00390625F, 2.0F)), 0x3f81);
  EXPECT_EQ(to_bfloat16(1.01171875F), 0x3f82);  // halfway, the lower one odd
  EXPECT_EQ(to_bfloat16(-INFINITY), 0xff80);
  EXPECT_EQ(to_bfloat16(3.4e38F), 0x7f80);  // beyond the largest
  EXPECT_TRUE(std::isnan(from_bfloat16(to_bfloat16(NAN))));
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto narrow = static_cast<std::uint16_t>(bits);
    const float value = from_bfloat16(narrow);
    EXPECT_TRUE(std::isnan(value) || to_bfloat16(value) == narrow) << bits;
  }
}

}  // namespace
}  // namespace trireme::gpu
