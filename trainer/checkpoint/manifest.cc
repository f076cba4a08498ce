#include "trainer/checkpoint/manifest.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

#include <fmt/format.h>

#include "cuda/core/tensor.h"
#include "dataloader/shard/sealed_text.h"
#include "monitoring/check.h"
#include "monitoring/error.h"
#include "monitoring/read_file.h"

namespace trireme {
namespace {

constexpr int kVersion = 1;
constexpr std::string_view kFirstLine = "# trireme checkpoint; XXH3-128 of what follows: ";

[[noreturn]] void damaged(const std::string& name, const std::string& what) {
  throw DamagedDataError(fmt::format("{}: {}", name, what));
}

void check_digest(const std::string& digest, const std::string& name, const std::string& of) {
  if (digest.size() != 32 || digest.find_first_not_of("0123456789abcdef") != std::string::npos)
    damaged(name, fmt::format("the digest of {} is not 32 hexadecimal digits", of));
}

}  // namespace

std::string checkpoint_manifest_text(const proto::CheckpointManifest& manifest) {
  proto::CheckpointManifest out = manifest;
  out.set_version(kVersion);
  return sealed_text(kFirstLine, out);
}

proto::CheckpointManifest parse_checkpoint_manifest(std::string_view text, const std::string& name) {
  proto::CheckpointManifest manifest;
  if (const std::string problem = read_sealed_text(text, kFirstLine, manifest); !problem.empty())
    damaged(name, problem);
  if (manifest.version() != kVersion)
    damaged(name, fmt::format("it has version {}, and this program reads version {}", manifest.version(), kVersion));
  if (manifest.step() < 0 || manifest.cursor() < 0 || manifest.applied_updates() < 0)
    damaged(name, "step, cursor or applied_updates is negative");
  const bool scaled = manifest.dtype() == name_of(DType::kF16);
  if (scaled != manifest.has_loss_scale() || scaled != manifest.has_good_steps())
    damaged(name,
            fmt::format("weights in {} {} a loss_scale and good_steps", manifest.dtype(), scaled ? "need" : "have no"));
  if (scaled && (!std::isfinite(manifest.loss_scale()) || manifest.loss_scale() <= 0 || manifest.good_steps() < 0))
    damaged(name, "loss_scale or good_steps is not a number of that kind");

  std::set<std::string> names{kCheckpointManifestFile};
  const auto check_name = [&](const std::string& file) {
    const bool plain = !file.empty() && file[0] != '.' && file.find('/') == std::string::npos &&
                       std::none_of(file.begin(), file.end(), [](unsigned char c) { return c < 0x20; });
    if (!plain) damaged(name, fmt::format("'{}' is not the name of a file in this folder", file));
    if (!names.insert(file).second) damaged(name, fmt::format("file {} is there twice", file));
  };
  for (const proto::CheckpointTensorFile& file : manifest.tensor_files()) {
    check_name(file.name());
    check_digest(file.header_digest(), name, file.name());
    for (const proto::CheckpointTensor& tensor : file.tensors())
      for (const std::string& digest : tensor.block_digests()) check_digest(digest, name, tensor.name());
  }
  for (const proto::CheckpointPlainFile& file : manifest.plain_files()) {
    check_name(file.name());
    check_digest(file.digest(), name, file.name());
  }
  return manifest;
}

proto::CheckpointManifest read_checkpoint_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kCheckpointManifestFile;
  const FileBytes file = try_read_file(path, kMaxSealedBytes);
  if (!file.problem.empty()) damaged(path.string(), "it cannot be read: " + file.problem);
  return parse_checkpoint_manifest(file.bytes, path.string());
}

OptimizerProgress progress_of(const proto::CheckpointManifest& manifest) {
  OptimizerProgress progress{.applied_updates = manifest.applied_updates()};
  if (manifest.has_loss_scale()) progress.loss_scale = manifest.loss_scale();
  progress.good_steps = manifest.good_steps();
  return progress;
}

}  // namespace trireme
