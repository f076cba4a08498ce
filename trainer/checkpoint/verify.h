// Before a byte of a checkpoint is used, all of it is held against its manifest. What is damaged is named: file,
// tensor, bytes.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "parallel/comm/communicator.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/safetensors.h"

namespace trireme {

// A checkpoint whose manifest, names, sizes and headers are sound; its tensors' bytes are not looked at yet.
class OpenCheckpoint {
 public:
  explicit OpenCheckpoint(const std::filesystem::path& folder);  // throws DamagedDataError, UserError

  const proto::CheckpointManifest& manifest() const { return manifest_; }
  // Of file "STEM.safetensors" or "STEM-....safetensors". Throws DamagedDataError when the tensor is not there.
  std::span<const std::byte> bytes(const std::string& stem, const std::string& tensor) const;
  const SafetensorsEntry& entry(const std::string& stem, const std::string& tensor) const;
  bool has_masters() const;
  std::string plain_file(const std::string& name) const;  // config.json, ...; empty if it has none

  // What is wrong with the tensors of part `part` of `parts` of about equal bytes: a block that does not have its
  // digest, or a weight that is not its master, rounded. Empty: nothing.
  std::string tensor_damage(int part, int parts) const;

 private:
  struct Place {
    const SafetensorsFile* file;
    const SafetensorsEntry* entry;
    const proto::CheckpointTensorFile* in;
    const proto::CheckpointTensor* digests;
  };
  void open_file(const proto::CheckpointTensorFile& file);
  const Place& place(const std::string& stem, const std::string& tensor) const;
  std::string digest_damage(const std::string& tensor, const Place& at) const;
  std::string rounding_damage(const std::string& tensor, const Place& model) const;

  std::filesystem::path folder_;
  proto::CheckpointManifest manifest_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::pair<std::string, std::string>, Place> places_;  // (stem, tensor)
};

}  // namespace trireme
