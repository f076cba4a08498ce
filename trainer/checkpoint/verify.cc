#include "trainer/checkpoint/verify.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "monitoring/error.h"
#include "monitoring/read_file.h"
#include "trainer/checkpoint/file_plan.h"
#include "trainer/checkpoint/snapshot.h"

namespace trireme {
namespace {

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw DamagedDataError(path.string() + ": " + what);
}

// "master-00001-of-00002.safetensors" -> "master"
std::string stem_of(const std::string& name) { return name.substr(0, name.find_first_of("-.")); }

// Of the size that the manifest names.
std::string read_plain_file(const std::filesystem::path& folder, const proto::CheckpointPlainFile& file) {
  FileBytes read = try_read_file(folder / file.name(), file.bytes());
  if (!read.problem.empty()) damaged(folder / file.name(), "it cannot be read: " + read.problem);
  return std::move(read.bytes);
}

}  // namespace

OpenCheckpoint::OpenCheckpoint(const std::filesystem::path& folder)
    : folder_(folder), manifest_(read_checkpoint_manifest(folder)) {
  for (const proto::CheckpointPlainFile& file : manifest_.plain_files()) {
    const std::string contents = read_plain_file(folder, file);
    if (contents.size() != file.bytes() || digest_of(std::as_bytes(std::span(contents))) != file.digest())
      damaged(folder / file.name(), "its contents do not have the manifest's digest");
  }
  for (const proto::CheckpointTensorFile& file : manifest_.tensor_files()) open_file(file);
}

void OpenCheckpoint::open_file(const proto::CheckpointTensorFile& file) {
  const std::filesystem::path path = folder_ / file.name();
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(path, error);
  if (error) damaged(path, "it is missing or cannot be read: " + error.message());
  if (size != file.bytes()) damaged(path, fmt::format("it has {} bytes instead of {}", size, file.bytes()));
  files_.push_back(std::make_unique<SafetensorsFile>(path));
  const SafetensorsFile& opened = *files_.back();
  if (digest_of(opened.header_bytes()) != file.header_digest())
    damaged(path, fmt::format("bytes 0 to {}: its header does not have the manifest's digest",
                              opened.header_bytes().size() - 1));
  std::unordered_map<std::string_view, const SafetensorsEntry*> entries;
  for (const SafetensorsEntry& entry : opened.entries()) entries[entry.name] = &entry;
  if (static_cast<std::size_t>(file.tensors_size()) != entries.size())
    damaged(path, fmt::format("it holds {} tensors, and its manifest names {}", entries.size(), file.tensors_size()));
  for (const proto::CheckpointTensor& tensor : file.tensors()) {
    const auto entry = entries.find(tensor.name());
    if (entry == entries.end())
      damaged(path, fmt::format("it has no tensor {}, which its manifest names", tensor.name()));
    const std::uint64_t blocks = (entry->second->bytes() + kDigestBlockBytes - 1) / kDigestBlockBytes;
    if (blocks != static_cast<std::uint64_t>(tensor.block_digests_size()))
      damaged(path, fmt::format("tensor {} has {} blocks, and its manifest {} digests", tensor.name(), blocks,
                                tensor.block_digests_size()));
    if (!places_.insert({{stem_of(file.name()), tensor.name()}, {&opened, entry->second, &file, &tensor}}).second)
      damaged(path, fmt::format("tensor {} is in the {} files twice", tensor.name(), stem_of(file.name())));
  }
}

const OpenCheckpoint::Place& OpenCheckpoint::place(const std::string& stem, const std::string& tensor) const {
  const auto found = places_.find({stem, tensor});
  if (found == places_.end()) damaged(folder_, fmt::format("no {} file holds tensor {}", stem, tensor));
  return found->second;
}

std::span<const std::byte> OpenCheckpoint::bytes(const std::string& stem, const std::string& tensor) const {
  const Place& at = place(stem, tensor);
  return at.file->bytes_of_entry(*at.entry);
}

const SafetensorsEntry& OpenCheckpoint::entry(const std::string& stem, const std::string& tensor) const {
  return *place(stem, tensor).entry;
}

bool OpenCheckpoint::has_masters() const {
  const std::string stem = file_stem(TensorKind::kMaster);
  return std::any_of(places_.begin(), places_.end(), [&](const auto& at) { return at.first.first == stem; });
}

std::string OpenCheckpoint::plain_file(const std::string& name) const {
  for (const proto::CheckpointPlainFile& file : manifest_.plain_files())
    if (file.name() == name) return read_plain_file(folder_, file);
  return "";
}

std::string OpenCheckpoint::tensor_damage(int part, int parts) const {
  std::uint64_t total = 0, before = 0;
  for (const auto& [key, at] : places_) total += at.entry->bytes();
  for (const auto& [key, at] : places_) {
    const double middle = static_cast<double>(before) + 0.5 * static_cast<double>(at.entry->bytes());
    before += at.entry->bytes();
    const double share = total == 0 ? 0 : middle / static_cast<double>(total);
    if (std::min(parts - 1, static_cast<int>(share * parts)) != part) continue;
    if (std::string damage = digest_damage(key.second, at); !damage.empty()) return damage;
    if (key.first == file_stem(TensorKind::kModel) && has_masters())
      if (std::string damage = rounding_damage(key.second, at); !damage.empty()) return damage;
  }
  return "";
}

std::string OpenCheckpoint::digest_damage(const std::string& tensor, const Place& at) const {
  const std::filesystem::path path = folder_ / at.in->name();
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno));
  const std::vector<std::string> digests(at.digests->block_digests().begin(), at.digests->block_digests().end());
  const std::string damage =
      damaged_block(file, at.file->header_bytes().size() + at.entry->begin, at.entry->bytes(), digests);
  close(file);
  return damage.empty() ? "" : fmt::format("{}: tensor {}: {}", path.string(), tensor, damage);
}

std::string OpenCheckpoint::rounding_damage(const std::string& tensor, const Place& model) const {
  const std::span<const std::byte> weights = model.file->bytes_of_entry(*model.entry);
  const std::span<const std::byte> masters = bytes(file_stem(TensorKind::kMaster), tensor);
  const DType dtype = model.entry->dtype;
  if ((dtype != DType::kBF16 && dtype != DType::kF16) || masters.size() != 2 * weights.size())
    return fmt::format("{}: tensor {}: its weights are {} in {} bytes, its masters have {} bytes",
                       (folder_ / model.in->name()).string(), tensor, name_of(dtype), weights.size(), masters.size());
  for (std::size_t i = 0; i < weights.size() / 2; ++i) {
    std::uint16_t bits = 0;
    float master = 0;
    std::memcpy(&bits, weights.data() + 2 * i, 2);
    std::memcpy(&master, masters.data() + 4 * i, 4);
    if (bits != (dtype == DType::kBF16 ? round_to_bf16(master) : round_to_fp16(master)))
      return fmt::format("{}: tensor {}: bytes {} to {} of it, element {}, are not its master, rounded to {}",
                         (folder_ / model.in->name()).string(), tensor, 2 * i, 2 * i + 1, i, name_of(dtype));
  }
  return "";
}

}  // namespace trireme
