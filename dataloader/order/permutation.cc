#include "dataloader/order/permutation.h"

#include <algorithm>
#include <bit>

#include "monitoring/check.h"

namespace trireme {

namespace {
constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio, odd
}

std::uint64_t mix_bits(std::uint64_t word) {
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
  word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
  return word ^ (word >> 31);
}

std::uint64_t derive_key(std::uint64_t seed, std::string_view purpose, std::uint64_t number) {
  std::uint64_t key = mix_bits(seed + kGolden);
  for (const char c : purpose) key = mix_bits((key ^ static_cast<unsigned char>(c)) + kGolden);
  return mix_bits((mix_bits(key + purpose.size()) ^ number) + kGolden);
}

Permutation::Permutation(std::uint64_t n, std::uint64_t key) : n_(n) {
  CHECK(n >= 1 && n <= std::uint64_t{1} << 63, "n = ", n);
  const int bits = std::max(kMinBits, static_cast<int>(std::bit_width(n - 1)));  // 2^bits >= n
  low_bits_ = (bits + 1) / 2;
  low_mask_ = (std::uint64_t{1} << low_bits_) - 1;
  high_mask_ = (std::uint64_t{1} << (bits - low_bits_)) - 1;
  for (std::uint64_t& round_key : keys_) round_key = mix_bits(key += kGolden);
}

std::uint64_t Permutation::once(std::uint64_t x) const {
  std::uint64_t low = x & low_mask_, high = x >> low_bits_;
  for (int round = 0; round < kRounds; round += 2) {
    high ^= mix_bits(low ^ keys_[round]) & high_mask_;
    low ^= mix_bits(high ^ keys_[round + 1]) & low_mask_;
  }
  return high << low_bits_ | low;
}

std::uint64_t Permutation::once_inverse(std::uint64_t x) const {
  std::uint64_t low = x & low_mask_, high = x >> low_bits_;
  for (int round = kRounds - 2; round >= 0; round -= 2) {
    low ^= mix_bits(high ^ keys_[round + 1]) & low_mask_;
    high ^= mix_bits(low ^ keys_[round]) & high_mask_;
  }
  return high << low_bits_ | low;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  CHECK(index < n_, index, " of ", n_);
  do index = once(index);
  while (index >= n_);
  return index;
}

std::uint64_t Permutation::inverse(std::uint64_t image) const {
  CHECK(image < n_, image, " of ", n_);
  do image = once_inverse(image);
  while (image >= n_);
  return image;
}

}  // namespace trireme
