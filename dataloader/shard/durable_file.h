// A write may be short, a disk may fill up, and what was written may be lost unless the kernel is told to keep it.
// DurableFile is a new file that is on the disk, whole, when finish() returns, and that does not exist when it never
// does.
//
// The bytes go to `path.partial`; finish() makes them durable, checks the size and renames. A file already at `path` is
// replaced whole, so that a process that has mapped it keeps the old one.
// Every failure is a UserError naming the path, the byte and the reason (a full disk, a folder that cannot be written).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace trireme {

class DurableFile {
 public:
  explicit DurableFile(std::filesystem::path path);
  ~DurableFile();  // without finish(): the partial file is removed
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void append(std::span<const std::byte> bytes);
  void overwrite(std::uint64_t at, std::span<const std::byte> bytes);  // bytes that were appended before
  std::uint64_t size() const { return size_; }                         // bytes appended
  void finish();

 private:
  void write_at(std::uint64_t at, std::span<const std::byte> bytes);

  std::filesystem::path path_;
  std::filesystem::path partial_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

// Whole small files, durable and replaced whole.
void write_file_durably(const std::filesystem::path& path, std::string_view contents);

// Makes durable what was created, renamed and removed in it.
void sync_folder(const std::filesystem::path& folder);

}  // namespace trireme
