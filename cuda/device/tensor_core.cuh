// What tensor cores are fed with: 16-byte copies from global to shared memory that do not wait (cp.async), fragments
// out of shared memory (ldmatrix), and D = A B + C on fragments (mma.sync), all as of sm_80: PTX ISA, "Warp-level
// matrix instructions" and "Asynchronous data movement instructions". Lane maps of m16n8k16, with g = lane / 4, t =
// lane % 4:
//   A [16 x 16]: a[0] (g, 2t..2t+1)  a[1] (g + 8, 2t..)  a[2] (g, 2t + 8..)  a[3] (g + 8, 2t + 8..)
//   B [16 x 8]:  b[0] (2t..2t+1, g)  b[1] (2t + 8.., g)
//   C [16 x 8]:  c[0..1] (g, 2t..2t+1)  c[2..3] (g + 8, 2t..2t+1)
// so that two neighbouring C tiles, rounded, are an A of the next product without leaving their lanes.
//
// A tile in shared memory is rows of D 16-bit elements without padding; the 16-byte chunk c of row r lies at
// c ^ (r % 8). Eight rows of one chunk, which is what ldmatrix reads at once, and eight chunks of one row, which is
// what a quarter of a warp stores at once, both fall on all 32 banks: no conflicts.
//
// Internal to cuda/device.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace trireme::cuda {

// An address in shared memory, as PTX wants it.
using SharedAddress = std::uint32_t;

__device__ inline SharedAddress shared_address(const void* pointer) {
  return static_cast<SharedAddress>(__cvta_generic_to_shared(pointer));
}

// Of chunk `chunk` (8 elements) of row `row` of the tile at `tile`.
template <int D>
__device__ inline SharedAddress at(SharedAddress tile, int row, int chunk) {
  return tile + static_cast<SharedAddress>(row * (2 * D) + ((chunk ^ (row & 7)) << 4));
}

// kBytes from `from`, or zeros if not `valid`; nothing is read then. They are there after copies_landed and a barrier.
template <int kBytes>
__device__ inline void copy_async(SharedAddress to, const void* from, bool valid) {
  static_assert(kBytes == 4 || kBytes == 16);
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)),
                 "r"(valid ? 16 : 0)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(__cvta_generic_to_global(from)),
                 "r"(valid ? 4 : 0)
                 : "memory");
}
// Waits for all of the calling thread's copies.
__device__ inline void copies_landed() { asm volatile("cp.async.wait_all;" ::: "memory"); }

// Copies kRows rows of D elements, `stride` elements apart, into a tile, with all threads; zeros from row `valid` on.
template <int D, int kRows, int kThreads, class T>
__device__ inline void copy_rows(SharedAddress tile, const T* from, std::int64_t stride, int valid) {
  constexpr int kChunks = D / 8;
  static_assert(kRows * kChunks % kThreads == 0);
#pragma unroll
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int index = i * kThreads + static_cast<int>(threadIdx.x);
    const int row = index / kChunks;
    const int chunk = index % kChunks;
    const bool is_valid = row < valid;
    copy_async<16>(at<D>(tile, row, chunk), from + (is_valid ? row * stride : 0) + chunk * 8, is_valid);
  }
}

struct Fragment {
  std::uint32_t r[4];
};

__device__ inline Fragment load_matrices(SharedAddress address) {
  Fragment f;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.r[0]), "=r"(f.r[1]), "=r"(f.r[2]), "=r"(f.r[3])
               : "r"(address)
               : "memory");
  return f;
}
__device__ inline Fragment load_matrices_transposed(SharedAddress address) {
  Fragment f;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(f.r[0]), "=r"(f.r[1]), "=r"(f.r[2]), "=r"(f.r[3])
               : "r"(address)
               : "memory");
  return f;
}

// Fragments of tiles of rows of D elements; row and column are multiples of 16.
// A [row.., column..]: 16 rows of the tile by 16 of their elements.
template <int D>
__device__ inline Fragment load_a(SharedAddress tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  return load_matrices(at<D>(tile, row + (lane & 15), column / 8 + (lane >> 4)));
}
// Two Bs whose columns are rows row..row+7 and row+8..row+15 of the tile, 16 of their elements deep: r[0..1], r[2..3].
template <int D>
__device__ inline Fragment load_b_of_rows(SharedAddress tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  return load_matrices(at<D>(tile, row + (lane & 7) + (lane >> 4) * 8, column / 8 + ((lane >> 3) & 1)));
}
// Two Bs whose columns are elements column..column+7 and column+8..column+15 of 16 rows of the tile.
template <int D>
__device__ inline Fragment load_b_of_columns(SharedAddress tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) & 31;
  return load_matrices_transposed(at<D>(tile, row + (lane & 15), column / 8 + (lane >> 4)));
}

// Two numbers rounded to T, the first in the low half.
template <class T>
__device__ std::uint32_t pack(float low, float high);
template <>
__device__ inline std::uint32_t pack<__nv_bfloat16>(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(both);
}
template <>
__device__ inline std::uint32_t pack<__half>(float low, float high) {
  const __half2 both = __floats2half2_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(both);
}

// c += a b, summed in fp32.
template <class T>
__device__ void multiply_add(float (&c)[4], const Fragment& a, std::uint32_t b0, std::uint32_t b1);
template <>
__device__ inline void multiply_add<__nv_bfloat16>(float (&c)[4], const Fragment& a, std::uint32_t b0,
                                                   std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
}
template <>
__device__ inline void multiply_add<__half>(float (&c)[4], const Fragment& a, std::uint32_t b0, std::uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b0), "r"(b1));
}

// kTiles C tiles side by side, rounded: the A whose columns are tiles 2 k and 2 k + 1.
template <class T, int kTiles>
__device__ inline Fragment as_a(const float (&c)[kTiles][4], int k) {
  return {{pack<T>(c[2 * k][0], c[2 * k][1]), pack<T>(c[2 * k][2], c[2 * k][3]),
           pack<T>(c[2 * k + 1][0], c[2 * k + 1][1]), pack<T>(c[2 * k + 1][2], c[2 * k + 1][3])}};
}

}  // namespace trireme::cuda
