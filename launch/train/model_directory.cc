#include "launch/train/model_directory.h"

#include <algorithm>

#include "launch/config/hugging_face.h"
#include "launch/config/problems.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

// The newest of RUN/checkpoints/step-*; their names sort by step. Empty if there is none.
std::filesystem::path newest_checkpoint(const std::filesystem::path& run) {
  std::filesystem::path newest;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints", error)) {
    const std::filesystem::path& path = entry.path();
    if (path.filename().string().starts_with("step-") && std::filesystem::exists(path / "config.json"))
      newest = std::max(newest, path);
  }
  return newest;
}

}  // namespace

ModelDirectory open_model_directory(const std::filesystem::path& where) {
  if (!std::filesystem::is_directory(where))
    throw UserError("there is no folder " + where.string() +
                    "; a run, one of its checkpoints, or a Hugging Face directory is expected");
  std::filesystem::path path = where;
  if (!std::filesystem::exists(path / "config.json")) path = newest_checkpoint(where);
  if (path.empty())
    throw UserError(where.string() + " holds no model: neither a config.json nor checkpoints/step-*/config.json");
  Problems problems;
  HuggingFaceModel found = read_hugging_face_directory(path.string(), problems);
  problems.throw_if_any();
  if (found.weights != WeightFiles::kSafetensors)
    throw UserError(path.string() + " has a config.json but no weights in safetensors beside it");
  return {path, found.model};
}

}  // namespace trireme
