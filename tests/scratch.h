// What tests of files need: a folder of their own, bytes out of and into files, what a statement throws, and seeds of
// fuzz targets to replay.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace trireme {

// Empty at first, and gone with the object.
class ScratchFolder {
 public:
  ScratchFolder() {
    static std::atomic<int> number{0};
    path_ = std::filesystem::path(::testing::TempDir()) /
            ("trireme-test-" + std::to_string(::getpid()) + "-" + std::to_string(number++));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_bytes(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// What a statement throws, as its message; "" if nothing of that kind.
template <class Exception, class Statement>
std::string message_of(const Statement& statement) {
  try {
    statement();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

// Gives `exercise` the bytes of each file in `folder`; returns how many there were.
template <class Exercise>
int replay_seeds(const std::filesystem::path& folder, const Exercise& exercise) {
  int seeds = 0;
  for (const auto& seed : std::filesystem::directory_iterator(folder)) {
    const std::string bytes = read_bytes(seed.path());
    exercise(std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()));
    ++seeds;
  }
  return seeds;
}

}  // namespace trireme
