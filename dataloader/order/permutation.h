// Training wants each epoch in another random order, and an array with that order costs gigabytes and has to be kept. A
// keyed permutation of [0, n) computes any position of the order from the key alone, in tens of nanoseconds.
//
// An unbalanced Feistel network over the smallest power of two that holds n, with kRounds rounds of SplitMix64's
// finalizer (Steele, Lea, Flood 2014), and cycle walking: an image outside [0, n) is mapped again until it falls
// inside. Each round can be undone whatever its function, so this is a bijection for every n and key; fewer than 2
// walks are expected (more below n = 128: halves of one or two bits mix badly, so the network never has fewer than
// kMinBits). Pure; a Permutation never changes and may be shared by threads.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace trireme {

// SplitMix64's finalizer: a bijection of 64-bit words in which each input bit flips each output bit about half the
// time.
std::uint64_t mix_bits(std::uint64_t word);

// A key of its own for each (seed, purpose, number), for example (run.seed, "order", epoch).
std::uint64_t derive_key(std::uint64_t seed, std::string_view purpose, std::uint64_t number);

class Permutation {
 public:
  static constexpr int kRounds = 10;
  static constexpr int kMinBits = 8;

  Permutation(std::uint64_t n, std::uint64_t key);  // 1 <= n <= 2^63

  std::uint64_t size() const { return n_; }
  std::uint64_t operator()(std::uint64_t index) const;  // index < n
  std::uint64_t inverse(std::uint64_t image) const;     // inverse((*this)(i)) == i

 private:
  std::uint64_t once(std::uint64_t x) const;
  std::uint64_t once_inverse(std::uint64_t x) const;

  std::uint64_t n_;
  int low_bits_;  // of the larger half
  std::uint64_t low_mask_, high_mask_;
  std::array<std::uint64_t, kRounds> keys_;
};

}  // namespace trireme
