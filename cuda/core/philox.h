// Random numbers without state: the n-th number of a purpose is computed, not drawn, so that every rank and every
// layout sees the same ones. Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011; checked in tests against the paper's known answers.
//
// Who counts how (part of the experiment: changing it changes every run):
//   initial weight, element e of a tensor   key_of(seed, name)     counter {e/4 low, e/4 high, 0, 0}           lane e%4
//   dropout, (sample, offset, column)       key_of(seed, site)     counter {sample low, high, offset, column/4} lane
//   column%4 attention dropout, (sample, head, q, k) key_of(seed, site) mixed with head   counter {sample low, high, q,
//   k/4}  lane k%4
// Initial weights are normal by Box-Muller: of lanes a, b = 2j, 2j + 1 of a block, sqrt(-2 ln u) (cos, sin)(2 pi v)
// with u = (a + 1) / 2^32 and v = b / 2^32, in fp64, times the deviation, rounded to fp32 and from there to the
// tensor's dtype.
#pragma once

#include <cstdint>
#include <string_view>

#if defined(__CUDACC__)
#define TRIREME_HOST_DEVICE __host__ __device__
#else
#define TRIREME_HOST_DEVICE
#endif

namespace trireme {

struct PhiloxBlock {
  std::uint32_t lane[4];
};

TRIREME_HOST_DEVICE inline PhiloxBlock philox(std::uint64_t key, std::uint32_t c0, std::uint32_t c1, std::uint32_t c2,
                                              std::uint32_t c3) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key);
  std::uint32_t k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// A bijection of 64 bits that leaves no pattern (the finaliser of SplitMix64, G. Steele et al., OOPSLA 2014).
TRIREME_HOST_DEVICE constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// The key of everything drawn under `name` with `seed`.
constexpr std::uint64_t key_of(std::uint64_t seed, std::string_view name) {
  std::uint64_t key = mix64(seed);
  for (char letter : name) key = mix64(key ^ static_cast<unsigned char>(letter));
  return key;
}
// Of a site's attention head. 256 and more is no letter: no head has the key of another, longer name.
TRIREME_HOST_DEVICE constexpr std::uint64_t key_of_head(std::uint64_t key, std::uint32_t head) {
  return mix64(key ^ (std::uint64_t{head} + 256));
}

// Kept with probability 1 - p: lane >= drop_threshold(p). Kept values are scaled by 1 / (1 - p).
TRIREME_HOST_DEVICE inline std::uint32_t drop_threshold(float p) {
  return static_cast<std::uint32_t>(static_cast<double>(p) * 4294967296.0);
}

}  // namespace trireme
