// Corpora come as plain files, .gz and .zst, and a file that was cut short by a full disk or a broken download looks
// like a shorter corpus. A ByteSource is the text of one file, decompressed as it is read; a stream that ends early or
// is damaged is an error with its place, never an end.
//
// Compression goes by the name's ending; several streams one after another (pigz, zstd --rsyncable, cat a.gz b.gz) are
// one text. Holds a block of the file and the decompressor's window (zstd: at most 128 MiB). One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace trireme {

class ByteSource {
 public:
  // Throws UserError if the path is not a regular file that can be read.
  static std::unique_ptr<ByteSource> open(const std::filesystem::path& path);
  // The file's own bytes, whatever its name ends in.
  static std::unique_ptr<ByteSource> open_raw(const std::filesystem::path& path);
  virtual ~ByteSource() = default;

  // Fills the front of `out` and returns how much: 0 at the end of the text only.
  // Throws DamagedDataError naming file and byte.
  virtual std::size_t read(std::span<char> out) = 0;

  // Of the file as it lies on the disk. The digest is XXH3-128 in hexadecimal; only after read() has returned 0.
  virtual std::uint64_t file_bytes_read() const = 0;
  virtual std::string file_digest() const = 0;
};

// The name without .gz or .zst.
std::filesystem::path without_compression(const std::filesystem::path& path);

}  // namespace trireme
