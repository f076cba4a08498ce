#include "tests/gpu/cublaslt/product.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/gpu/runtime/float16.h"

namespace trireme::gpu::cublaslt {
namespace {

constexpr std::uint64_t kRows = 8;  // of a tile: what registers hold
constexpr std::uint64_t kColumns = 4;

// tile[c kRows + r] += sum over k of a[k kRows + r] b[k kColumns + c]
void multiply_tile(const float* a, const float* b, std::uint64_t k, float* tile) {
  float sums[kColumns][kRows] = {};
  for (std::uint64_t i = 0; i < k; ++i)
    for (std::uint64_t c = 0; c < kColumns; ++c)
      for (std::uint64_t r = 0; r < kRows; ++r) sums[c][r] += a[i * kRows + r] * b[i * kColumns + c];
  std::memcpy(tile, sums, sizeof sums);
}

// Tiles of `width` lines side by side, filled up with zeros: [lines / width][k][width].
std::vector<float> packed(const View& matrix, std::uint64_t lines, std::uint64_t k, std::uint64_t width) {
  std::vector<float> tiles((lines + width - 1) / width * width * k, 0.0F);
  for (std::uint64_t line = 0; line < lines; ++line)
    for (std::uint64_t i = 0; i < k; ++i) tiles[(line / width * k + i) * width + line % width] = matrix.at(line, i);
  return tiles;
}

}  // namespace

float read_element(std::int32_t type, const std::byte* bytes, std::uint64_t i) {
  if (type == CUDA_R_32F) {
    float value;
    std::memcpy(&value, bytes + i * sizeof value, sizeof value);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, bytes + i * sizeof bits, sizeof bits);
  return type == CUDA_R_16F ? from_float16(bits) : from_bfloat16(bits);
}

void write_element(std::int32_t type, std::byte* bytes, std::uint64_t i, float value) {
  if (type == CUDA_R_32F) {
    std::memcpy(bytes + i * sizeof value, &value, sizeof value);
    return;
  }
  const std::uint16_t bits = type == CUDA_R_16F ? to_float16(value) : to_bfloat16(value);
  std::memcpy(bytes + i * sizeof bits, &bits, sizeof bits);
}

float View::at(std::uint64_t row, std::uint64_t column) const {
  return read_element(type, bytes, row * row_stride + column * column_stride);
}

View view(const Layout& layout, const std::byte* bytes) {
  const auto leading = static_cast<std::uint64_t>(layout.leading);
  return layout.order == CUBLASLT_ORDER_COL ? View{bytes, layout.type, 1, leading}
                                            : View{bytes, layout.type, leading, 1};
}

View transposed(View matrix) {
  std::swap(matrix.row_stride, matrix.column_stride);
  return matrix;
}

std::vector<float> multiply(const View& a, const View& b, std::uint64_t m, std::uint64_t n, std::uint64_t k) {
  const std::vector<float> rows = packed(a, m, k, kRows);
  const std::vector<float> columns = packed(transposed(b), n, k, kColumns);
  std::vector<float> sums(m * n);
  float tile[kColumns * kRows];
  for (std::uint64_t column = 0; column < n; column += kColumns)
    for (std::uint64_t row = 0; row < m; row += kRows) {
      multiply_tile(rows.data() + row * k, columns.data() + column * k, k, tile);
      for (std::uint64_t c = 0; c < std::min(kColumns, n - column); ++c)
        std::copy_n(tile + c * kRows, std::min(kRows, m - row), sums.data() + (column + c) * m + row);
    }
  return sums;
}

namespace {
constexpr float kRootTwoOverPi = 0.7978845608028654F;
constexpr float kCubic = 0.044715F;
}  // namespace

float gelu(float x) { return 0.5F * x * (1.0F + std::tanh(kRootTwoOverPi * (x + kCubic * x * x * x))); }

float gelu_gradient(float x) {
  const float t = std::tanh(kRootTwoOverPi * (x + kCubic * x * x * x));
  return 0.5F * (1.0F + t) + 0.5F * x * (1.0F - t * t) * kRootTwoOverPi * (1.0F + 3.0F * kCubic * x * x);
}

}  // namespace trireme::gpu::cublaslt
