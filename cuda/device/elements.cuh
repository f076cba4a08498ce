// Memory moves fastest 16 bytes at a time, and tensors are as long and as aligned as they happen to be. Kernels
// therefore work on packs of kLanes neighbouring elements, held as fp32: a pack is loaded and stored in one access
// where the host has found every pack of the call aligned (`packs_aligned`), and element by element else and at the end
// of a row. Which elements make a pack depends on shapes alone, so both ways sum in the same order.
//
// Rounding to 16 bits is to nearest, ties to even; subnormals are kept. Internal to cuda/device.
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/core/tensor.h"

namespace trireme::cuda {

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float widen(__half x) { return __half2float(x); }

template <class T>
__device__ T round_to(float x);
template <>
__device__ inline float round_to<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 round_to<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ inline __half round_to<__half>(float x) {
  return __float2half_rn(x);
}

template <int kBytes>
struct Bits;
template <>
struct Bits<8> {
  using type = uint2;
};
template <>
struct Bits<16> {
  using type = uint4;
};

// Elements of a pack of T: 16 bytes.
template <class T>
inline constexpr int kLanesOf = 16 / static_cast<int>(sizeof(T));

template <int kLanes>
struct Pack {
  float lane[kLanes];
};

// One access: a pack of 16 bytes or less in one, a larger one 16 bytes at a time.
template <int kLanes, class T>
using Word =
    typename Bits<(kLanes * static_cast<int>(sizeof(T)) < 16 ? kLanes * static_cast<int>(sizeof(T)) : 16)>::type;

// The first `count` of kLanes elements at `from`; the rest is 0. With `aligned`, whole packs lie on multiples of a
// Word.
template <int kLanes, class T>
__device__ inline Pack<kLanes> load(const T* from, std::int64_t count, bool aligned) {
  using Word = cuda::Word<kLanes, T>;
  constexpr int kPerWord = static_cast<int>(sizeof(Word) / sizeof(T));
  Pack<kLanes> pack;
  if (aligned && count >= kLanes) {
#pragma unroll
    for (int first = 0; first < kLanes; first += kPerWord) {
      const Word word = *reinterpret_cast<const Word*>(from + first);
      const T* part = reinterpret_cast<const T*>(&word);
#pragma unroll
      for (int i = 0; i < kPerWord; ++i) pack.lane[first + i] = widen(part[i]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kLanes; ++i) pack.lane[i] = i < count ? widen(from[i]) : 0.0f;
  }
  return pack;
}

template <int kLanes, class T>
__device__ inline void store(T* to, const Pack<kLanes>& pack, std::int64_t count, bool aligned) {
  using Word = cuda::Word<kLanes, T>;
  constexpr int kPerWord = static_cast<int>(sizeof(Word) / sizeof(T));
  if (aligned && count >= kLanes) {
#pragma unroll
    for (int first = 0; first < kLanes; first += kPerWord) {
      Word word;
      T* part = reinterpret_cast<T*>(&word);
#pragma unroll
      for (int i = 0; i < kPerWord; ++i) part[i] = round_to<T>(pack.lane[first + i]);
      *reinterpret_cast<Word*>(to + first) = word;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kLanes; ++i)
      if (i < count) to[i] = round_to<T>(pack.lane[i]);
  }
}

}  // namespace trireme::cuda
