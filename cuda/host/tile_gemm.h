// Products of tiles that lie in cache, too small for a library: c [m, n] (+)= a [m, k] b [k, n], fp32. Once for each
// instruction set (as cuda/host/simd.h).
//
// Every element of c is one chain of fused multiply-adds over k in order, whatever m, n and the instruction set: it
// does not depend on what is computed beside it, and k may be cut anywhere.
#if defined(TRIREME_CUDA_HOST_TILE_GEMM_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_CUDA_HOST_TILE_GEMM_H_
#undef TRIREME_CUDA_HOST_TILE_GEMM_H_
#else
#define TRIREME_CUDA_HOST_TILE_GEMM_H_
#endif

#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

// a(i, l) = a[i * row + l * column]: a tile may be read transposed.
struct TileA {
  const float* data;
  std::int64_t row;
  std::int64_t column;
};
// Rows of whole vectors; `row` elements from one to the next.
struct TileB {
  const float* data;
  std::int64_t row;
};
enum class TileC { kOverwrite, kAdd };

// Registers: Rows x Vectors sums, Vectors of b, one of a: 32 with AVX-512, 16 with AVX2.
constexpr int kGemmRows = HWY_MAX_BYTES >= 64 && HWY_TARGET <= HWY_AVX3 ? 4 : 6;
constexpr int kGemmVectors = kGemmRows == 4 ? 4 : 2;

template <int Rows, int Vectors>
HWY_INLINE void tile_block(std::int64_t k, TileA a, TileB b, float* HWY_RESTRICT c, std::int64_t c_row, TileC mode) {
  const F32 d;
  const std::int64_t width = lanes();
  Vector sum[Rows][Vectors];
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v)
      sum[i][v] = mode == TileC::kAdd ? hn::LoadU(d, c + i * c_row + v * width) : hn::Zero(d);
  for (std::int64_t l = 0; l < k; ++l) {
    Vector right[Vectors];
    for (int v = 0; v < Vectors; ++v) right[v] = hn::LoadU(d, b.data + l * b.row + v * width);
    for (int i = 0; i < Rows; ++i) {
      const Vector left = hn::Set(d, a.data[i * a.row + l * a.column]);
      for (int v = 0; v < Vectors; ++v) sum[i][v] = hn::MulAdd(left, right[v], sum[i][v]);
    }
  }
  for (int i = 0; i < Rows; ++i)
    for (int v = 0; v < Vectors; ++v) hn::StoreU(sum[i][v], d, c + i * c_row + v * width);
}

template <int Vectors>
HWY_INLINE void tile_column(std::int64_t m, std::int64_t k, TileA a, TileB b, float* c, std::int64_t c_row,
                            TileC mode) {
  std::int64_t i = 0;
  for (; i + kGemmRows <= m; i += kGemmRows)
    tile_block<kGemmRows, Vectors>(k, {a.data + i * a.row, a.row, a.column}, b, c + i * c_row, c_row, mode);
  for (; i + 2 <= m; i += 2)
    tile_block<2, Vectors>(k, {a.data + i * a.row, a.row, a.column}, b, c + i * c_row, c_row, mode);
  if (i < m) tile_block<1, Vectors>(k, {a.data + i * a.row, a.row, a.column}, b, c + i * c_row, c_row, mode);
}

// n is a multiple of the vector; so many columns of b and c must exist.
HWY_INLINE void tile_gemm(std::int64_t m, std::int64_t n, std::int64_t k, TileA a, TileB b, float* c,
                          std::int64_t c_row, TileC mode) {
  const std::int64_t width = lanes();
  std::int64_t j = 0;
  for (; j + kGemmVectors * width <= n; j += kGemmVectors * width)
    tile_column<kGemmVectors>(m, k, a, {b.data + j, b.row}, c + j, c_row, mode);
  for (; j < n; j += width) tile_column<1>(m, k, a, {b.data + j, b.row}, c + j, c_row, mode);
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
