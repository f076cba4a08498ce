#include "trainer/checkpoint/verify.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "monitoring/error.h"
#include "trainer/checkpoint/file_plan.h"
#include "trainer/checkpoint/snapshot.h"

namespace trireme {
namespace {

[[noreturn]] void damaged(const std::filesystem::path& path, const std::string& what) {
  throw DamagedDataError(path.string() + ": " + what);
}

// "master-00001-of-00002.safetensors" -> "master"
std::string stem_of(const std::string& name) { return name.substr(0, name.find_first_of("-.")); }

std::string read_whole(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) damaged(path, "it is missing or cannot be read");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

OpenCheckpoint::OpenCheckpoint(const std::filesystem::path& folder)
    : folder_(folder), manifest_(read_checkpoint_manifest(folder)) {
  for (const proto::CheckpointPlainFile& file : manifest_.plain_files()) {
    const std::string contents = read_whole(folder / file.name());
    if (contents.size() != file.bytes() || digest_of(std::as_bytes(std::span(contents))) != file.digest())
      damaged(folder / file.name(), "its contents do not have the manifest's digest");
  }
  for (const proto::CheckpointTensorFile& file : manifest_.tensor_files()) {
    const std::filesystem::path path = folder / file.name();
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (error) damaged(path, "it is missing or cannot be read: " + error.message());
    if (size != file.bytes()) damaged(path, fmt::format("it has {} bytes instead of {}", size, file.bytes()));
    files_.push_back(std::make_unique<SafetensorsFile>(path));
    const SafetensorsFile& opened = *files_.back();
    if (digest_of(opened.header_bytes()) != file.header_digest())
      damaged(path, fmt::format("bytes 0 to {}: its header does not have the manifest's digest",
                                opened.header_bytes().size() - 1));
    if (static_cast<std::size_t>(file.tensors_size()) != opened.entries().size())
      damaged(path, "it holds other tensors than its manifest says");
    for (const proto::CheckpointTensor& tensor : file.tensors()) {
      const auto entry = std::find_if(opened.entries().begin(), opened.entries().end(),
                                      [&](const SafetensorsEntry& e) { return e.name == tensor.name(); });
      const std::size_t blocks =
          entry == opened.entries().end() ? 0 : (entry->bytes() + kDigestBlockBytes - 1) / kDigestBlockBytes;
      if (entry == opened.entries().end() || blocks != static_cast<std::size_t>(tensor.block_digests_size()))
        damaged(path, "it holds other tensors than its manifest says: " + tensor.name());
      places_[{stem_of(file.name()), tensor.name()}] = {&opened, &*entry, &tensor};
    }
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
    if (file.name() == name) return read_whole(folder_ / name);
  return "";
}

std::string OpenCheckpoint::tensor_damage(int part, int parts) const {
  int index = 0;
  for (const auto& [key, at] : places_) {
    if (index++ % parts != part) continue;
    const std::span<const std::byte> bytes = at.file->bytes_of_entry(*at.entry);
    for (int block = 0; block < at.digests->block_digests_size(); ++block) {
      const std::size_t begin = static_cast<std::size_t>(block) * kDigestBlockBytes;
      const std::size_t size = std::min(kDigestBlockBytes, bytes.size() - begin);
      if (digest_of(bytes.subspan(begin, size)) != at.digests->block_digests(block))
        return fmt::format("{} files, tensor {}, bytes {} to {} of it do not have the manifest's digest", key.first,
                           key.second, begin, begin + size - 1);
    }
    if (key.first == file_stem(TensorKind::kModel) && has_masters())
      if (std::string damage = rounding_damage(key.second, at); !damage.empty()) return damage;
  }
  return "";
}

std::string OpenCheckpoint::rounding_damage(const std::string& tensor, const Place& model) const {
  const std::span<const std::byte> weights = model.file->bytes_of_entry(*model.entry);
  const std::span<const std::byte> masters = bytes(file_stem(TensorKind::kMaster), tensor);
  if (model.entry->dtype != DType::kBF16 || masters.size() != 2 * weights.size())
    return fmt::format("tensor {}: its weight and its master do not match in size", tensor);
  for (std::size_t i = 0; i < weights.size() / 2; ++i) {
    std::uint16_t bits = 0;
    float master = 0;
    std::memcpy(&bits, weights.data() + 2 * i, 2);
    std::memcpy(&master, masters.data() + 4 * i, 4);
    if (bits != round_to_bf16(master))
      return fmt::format("tensor {}: element {} is not its master, rounded", tensor, i);
  }
  return "";
}

}  // namespace trireme
