// Many blocks of Philox4x32-10 (cuda/core/philox.h) at once, once for each instruction set (as cuda/host/simd.h).
#if defined(TRIREME_CUDA_HOST_PHILOX_SIMD_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_CUDA_HOST_PHILOX_SIMD_H_
#undef TRIREME_CUDA_HOST_PHILOX_SIMD_H_
#else
#define TRIREME_CUDA_HOST_PHILOX_SIMD_H_
#endif

#include "cuda/core/philox.h"
#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE void philox_blocks(std::uint64_t key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                              std::uint32_t* words) {
  std::memcpy(words, philox(key, c0, c1, c2, c3).lane, sizeof(PhiloxBlock));
}
#else
using Bits = hn::Vec<U32>;

// Both halves of the 64-bit products of the lanes.
HWY_INLINE void multiply(Bits a, Bits b, Bits& low, Bits& high) {
  const hn::RepartitionToWide<U32> wide;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(U32(), hn::ShiftRight<32>(hn::BitCast(wide, a))), b);
  low = hn::OddEven(hn::BitCast(U32(), hn::ShiftLeft<32>(odd)), hn::BitCast(U32(), even));
  high = hn::OddEven(hn::BitCast(U32(), odd), hn::BitCast(U32(), hn::ShiftRight<32>(even)));
}

// The blocks of counters {c0, c1, c2, c3 + i}, i a lane: 4 lanes() words to `words`, block after block.
HWY_INLINE void philox_blocks(std::uint64_t key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                              std::uint32_t* words) {
  const U32 d;
  auto k0 = static_cast<std::uint32_t>(key);
  auto k1 = static_cast<std::uint32_t>(key >> 32);
  Bits x0 = hn::Set(d, c0), x1 = hn::Set(d, c1), x2 = hn::Set(d, c2), x3 = hn::Iota(d, c3);
  for (int round = 0; round < 10; ++round) {
    Bits low0, high0, low1, high1;
    multiply(x0, hn::Set(d, 0xD2511F53u), low0, high0);
    multiply(x2, hn::Set(d, 0xCD9E8D57u), low1, high1);
    x0 = hn::Xor(hn::Xor(high1, x1), hn::Set(d, k0));
    x2 = hn::Xor(hn::Xor(high0, x3), hn::Set(d, k1));
    x1 = low1;
    x3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  hn::StoreInterleaved4(x0, x1, x2, x3, d, words);
}
#endif

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per target
