// Weights travel in safetensors: a length, a JSON header that names every tensor with its dtype, shape and bytes, and
// the bytes. A reader that trusts the header reads outside of the file, so every rule of the format is checked before
// anything is used:
//
//   u64 N (little-endian), N <= 100,000,000; N bytes of JSON that begin with '{', padded with spaces; the tensors'
//   bytes, contiguous from 0 in some order, without holes or overlaps; 8 + N + data = the file's size. Products do not
//   overflow. https://github.com/huggingface/safetensors#format
//
// Throws DamagedDataError naming the file, the tensor and the byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/core/tensor.h"

namespace trireme {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  std::uint64_t begin = 0;  // of its bytes, from the beginning of the data

  std::uint64_t bytes() const { return static_cast<std::uint64_t>(shape.elements()) * bytes_of(dtype); }
};

// The header's bytes, its length in front, for tensors whose begins are contiguous from 0: a function of the entries
// alone. Its size is a multiple of 8.
std::string safetensors_header(const std::vector<SafetensorsEntry>& entries);

struct SafetensorsHeader {
  std::uint64_t data_begin = 0;           // in the file
  std::vector<SafetensorsEntry> entries;  // by begin
};
// Of a whole file's bytes. `name` is for messages.
SafetensorsHeader parse_safetensors(std::span<const std::byte> file, const std::string& name);

// A file mapped into memory.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);  // throws UserError too, when it cannot be opened
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::vector<SafetensorsEntry>& entries() const { return header_.entries; }
  std::span<const std::byte> header_bytes() const { return bytes_.first(header_.data_begin); }
  std::span<const std::byte> bytes_of_entry(const SafetensorsEntry& entry) const {
    return bytes_.subspan(header_.data_begin + entry.begin, entry.bytes());
  }

 private:
  std::span<const std::byte> bytes_;
  SafetensorsHeader header_;
};

}  // namespace trireme
