#include "parallel/comm/window_writer.h"

#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace trireme {
namespace {

constexpr std::size_t kWorthTiming = std::size_t{4} << 20;
constexpr std::uint64_t kTryTheOther = 16;  // once in so many

#if defined(__SSE2__)
void copy_past_cache(std::byte* to, const std::byte* from, std::size_t bytes) {
  constexpr std::size_t kLine = 64;
  const std::size_t head = (kLine - reinterpret_cast<std::uintptr_t>(to) % kLine) % kLine;
  if (bytes < head + kLine) {
    std::memcpy(to, from, bytes);
    return;
  }
  std::memcpy(to, from, head);
  std::size_t at = head;
  for (; at + kLine <= bytes; at += kLine)
    for (std::size_t word = 0; word < kLine; word += sizeof(__m128i))
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + at + word),
                       _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at + word)));
  std::memcpy(to + at, from + at, bytes - at);
  _mm_sfence();
}
#else
void copy_past_cache(std::byte* to, const std::byte* from, std::size_t bytes) { std::memcpy(to, from, bytes); }
#endif

}  // namespace

void WindowWriter::begin(Op op, std::size_t bytes) {
  bytes_ = bytes;
  way_ = kThroughCache;
  record_ = bytes < kWorthTiming ? nullptr : &records_[op];
  if (record_ == nullptr) return;
  const auto& [cached, past] = record_->seconds_per_byte;
  const bool past_is_better = cached > 0 && past > 0 && past < cached;
  // All ranks count alike, so they try the other way in the same call.
  const bool other = record_->calls++ % kTryTheOther == 1;
  way_ = past_is_better != other ? kPastCache : kThroughCache;
  began_ = std::chrono::steady_clock::now();
}

void WindowWriter::end() {
  if (record_ == nullptr) return;
  const double now =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count() / static_cast<double>(bytes_);
  double& known = record_->seconds_per_byte[way_];
  // A slow call may have waited for a peer or a core; a fast one cannot have been lucky.
  known = known == 0 || now < known ? now : 0.9 * known + 0.1 * now;
}

void WindowWriter::copy(std::byte* to, const std::byte* from, std::size_t bytes) const {
  if (bytes == 0) return;
  if (way_ == kPastCache)
    copy_past_cache(to, from, bytes);
  else
    std::memcpy(to, from, bytes);
}

}  // namespace trireme
