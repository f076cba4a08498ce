#include "trainer/checkpoint/digest.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include "monitoring/check.h"

namespace trireme {
namespace {

// What keeps the bytes at `at` from being read; empty: nothing.
std::string read_fully(int file, std::span<std::byte> bytes, std::uint64_t at) {
  while (!bytes.empty()) {
    const ssize_t got = pread(file, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fmt::format("cannot be read: {}", std::strerror(errno));
    if (got == 0) return fmt::format("end at byte {} of the file", at);
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    at += static_cast<std::uint64_t>(got);
  }
  return "";
}

}  // namespace

std::string digest_of(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::vector<std::string> block_digests(std::span<const std::byte> bytes) {
  std::vector<std::string> digests;
  for (std::size_t at = 0; at < bytes.size(); at += kDigestBlockBytes)
    digests.push_back(digest_of(bytes.subspan(at, std::min(kDigestBlockBytes, bytes.size() - at))));
  return digests;
}

std::string damaged_block(int file, std::uint64_t begin, std::uint64_t bytes, std::span<const std::string> digests) {
  CHECK(digests.size() == (bytes + kDigestBlockBytes - 1) / kDigestBlockBytes, digests.size(), " digests of ", bytes,
        " bytes");
  std::vector<std::byte> block(std::min<std::uint64_t>(bytes, kDigestBlockBytes));
  for (std::uint64_t at = 0; at < bytes; at += kDigestBlockBytes) {
    const auto read = std::span(block).first(std::min<std::uint64_t>(kDigestBlockBytes, bytes - at));
    std::string problem = read_fully(file, read, begin + at);
    if (problem.empty() && digest_of(read) != digests[at / kDigestBlockBytes])
      problem = "do not have the manifest's digest";
    if (!problem.empty()) return fmt::format("bytes {} to {} of it {}", at, at + read.size() - 1, problem);
  }
  return "";
}

}  // namespace trireme
