#include "trainer/checkpoint/safetensors.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <set>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "monitoring/error.h"

namespace trireme {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr int kMaxDepth = 8;

[[noreturn]] void damaged(const std::string& file, const std::string& what) {
  throw DamagedDataError(fmt::format("{}: {}. It is not a sound safetensors file; restore it from a copy", file, what));
}

const char* safetensors_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kI32:
      return "I32";
    case DType::kI64:
      return "I64";
  }
  return "?";
}

DType dtype_named(const std::string& name, const std::string& file, const std::string& tensor) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kI64})
    if (name == safetensors_name(dtype)) return dtype;
  throw UserError(fmt::format("{}: tensor {} has dtype {}, which is not read here (F32, BF16, F16, I32 and I64 are)",
                              file, tensor, name));
}

// Refuses what nlohmann would let pass: a name given twice, and nesting without end.
nlohmann::json parse_header_json(std::string_view text, const std::string& file) {
  std::vector<std::set<std::string>> names;
  std::string problem;
  const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth) problem = "its header is nested too deeply";
    if (event == Event::object_start) names.emplace_back();
    if (event == Event::object_end && !names.empty()) names.pop_back();
    if (event == Event::key && !names.empty() && !names.back().insert(value.get<std::string>()).second)
      problem = "its header names \"" + value.get<std::string>() + "\" twice";
    if (!problem.empty()) throw DamagedDataError(problem);
    return true;
  };
  try {
    return nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::exception& error) {
    damaged(file, fmt::format("its header is not JSON: {}", error.what()));
  } catch (const DamagedDataError&) {
    damaged(file, problem);
  }
}

std::uint64_t natural(const nlohmann::json& value, const std::string& file, const std::string& what) {
  if (!value.is_number_unsigned()) damaged(file, what + " is not a number from 0 up");
  return value.get<std::uint64_t>();
}

SafetensorsEntry parse_entry(const std::string& tensor, const nlohmann::json& json, std::uint64_t data_bytes,
                             const std::string& file) {
  const auto field = [&](const char* name) -> const nlohmann::json& {
    if (!json.is_object() || !json.contains(name)) damaged(file, fmt::format("tensor {} has no \"{}\"", tensor, name));
    return json.at(name);
  };
  SafetensorsEntry entry{.name = tensor, .shape = {}};
  if (!field("dtype").is_string()) damaged(file, fmt::format("tensor {}: its dtype is not a word", tensor));
  entry.dtype = dtype_named(field("dtype").get<std::string>(), file, tensor);

  const nlohmann::json& shape = field("shape");
  if (!shape.is_array() || shape.size() > Shape::kMaxDims)
    damaged(file, fmt::format("tensor {}: its shape is not a list of at most {} sizes", tensor, Shape::kMaxDims));
  std::uint64_t bytes = bytes_of(entry.dtype);
  for (const nlohmann::json& dim : shape) {
    const std::uint64_t size = natural(dim, file, fmt::format("tensor {}: a size", tensor));
    if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) ||
        __builtin_mul_overflow(bytes, size, &bytes))
      damaged(file, fmt::format("tensor {}: its sizes multiply to more than 64 bits hold", tensor));
    entry.shape.append(static_cast<std::int64_t>(size));
  }

  const nlohmann::json& offsets = field("data_offsets");
  if (!offsets.is_array() || offsets.size() != 2)
    damaged(file, fmt::format("tensor {}: its data_offsets are not two numbers", tensor));
  entry.begin = natural(offsets[0], file, fmt::format("tensor {}: an offset", tensor));
  const std::uint64_t end = natural(offsets[1], file, fmt::format("tensor {}: an offset", tensor));
  if (entry.begin > end || end > data_bytes)
    damaged(file, fmt::format("tensor {}: bytes {} to {} of {} bytes of data", tensor, entry.begin, end, data_bytes));
  if (end - entry.begin != bytes)
    damaged(file, fmt::format("tensor {}: {} bytes for a shape of {} bytes", tensor, end - entry.begin, bytes));
  return entry;
}

}  // namespace

std::string safetensors_header(const std::vector<SafetensorsEntry>& entries) {
  std::string text = R"({"__metadata__":{"format":"pt"})";  // transformers refuses a file that does not say so
  for (const SafetensorsEntry& entry : entries) {
    std::string sizes;
    for (int dim = 0; dim < entry.shape.dims(); ++dim)
      sizes += fmt::format("{}{}", dim == 0 ? "" : ",", entry.shape[dim]);
    text +=
        fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", nlohmann::json(entry.name).dump(),
                    safetensors_name(entry.dtype), sizes, entry.begin, entry.begin + entry.bytes());
  }
  text += '}';
  while (text.size() % 8 != 0) text += ' ';
  std::string header;
  for (int byte = 0; byte < 8; ++byte)
    header += static_cast<char>(static_cast<std::uint64_t>(text.size()) >> (8 * byte) & 0xFF);
  return header + text;
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> file, const std::string& name) {
  if (file.size() < 8) damaged(name, fmt::format("{} bytes, too few for a header's length", file.size()));
  std::uint64_t length = 0;
  for (int byte = 7; byte >= 0; --byte)
    length = length << 8 | std::to_integer<std::uint64_t>(file[static_cast<std::size_t>(byte)]);
  if (length > kMaxHeaderBytes) damaged(name, fmt::format("its header would have {} bytes", length));
  if (length > file.size() - 8)
    damaged(name, fmt::format("its header has {} bytes, but the file ends at byte {}", length, file.size()));
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (text.empty() || text.front() != '{') damaged(name, "byte 8: its header does not begin with '{'");
  const std::size_t last = text.find_last_not_of(' ');
  if (text[last] != '}') damaged(name, fmt::format("byte {}: its header does not end with '}}'", 8 + last));

  SafetensorsHeader header{.data_begin = 8 + length, .entries = {}};
  const std::uint64_t data_bytes = file.size() - header.data_begin;
  const nlohmann::json json = parse_header_json(text.substr(0, last + 1), name);
  for (const auto& [tensor, entry] : json.items()) {
    if (tensor != "__metadata__")
      header.entries.push_back(parse_entry(tensor, entry, data_bytes, name));
    else if (!entry.is_object() ||
             !std::all_of(entry.begin(), entry.end(), [](const auto& v) { return v.is_string(); }))
      damaged(name, "its __metadata__ is not a map of words to words");
  }
  std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
    return std::make_pair(a.begin, a.bytes()) < std::make_pair(b.begin, b.bytes());
  });
  std::uint64_t at = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.begin != at)
      damaged(name,
              fmt::format("tensor {} begins at byte {} of the data, where {} is due", entry.name, entry.begin, at));
    at += entry.bytes();
  }
  if (at != data_bytes) damaged(name, fmt::format("its tensors have {} bytes, its data {}", at, data_bytes));
  return header;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw UserError(fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  struct stat status {};
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(file);
    throw UserError(path.string() + " is not a file");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* memory = size == 0 ? nullptr : mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
  const int error = errno;
  close(file);
  if (memory == MAP_FAILED) throw UserError(fmt::format("cannot map {}: {}", path.string(), std::strerror(error)));
  bytes_ = {static_cast<const std::byte*>(memory), size};
  try {
    header_ = parse_safetensors(bytes_, path.string());
  } catch (...) {
    if (size > 0) munmap(memory, size);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace trireme
