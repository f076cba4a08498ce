#include "trainer/checkpoint/commit.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>

#include <fcntl.h>
#include <fmt/format.h>

#include "dataloader/shard/durable_file.h"
#include "monitoring/error.h"
#include "monitoring/log.h"
#include "monitoring/read_file.h"
#include "trainer/checkpoint/write.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kReplaced = ".replaced";

// "step-00000100" -> 100; nothing for other names.
std::optional<std::int64_t> step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size() || name != checkpoint_name(step)) return std::nullopt;
  return step;
}

std::vector<std::vector<WrittenTensor>> by_entry(const std::vector<PlannedFile>& files,
                                                 const std::vector<std::string>& parts) {
  std::vector<std::vector<WrittenTensor>> found(files.size());
  std::vector<std::vector<int>> count(files.size());
  for (std::size_t f = 0; f < files.size(); ++f) {
    found[f].resize(files[f].entries.size());
    count[f].resize(files[f].entries.size());
  }
  for (const std::string& part : parts)
    for (WrittenTensor& tensor : decode_written(part)) {
      CHECK(tensor.file < files.size() && tensor.entry < files[tensor.file].entries.size(), "a tensor of no file");
      ++count[tensor.file][tensor.entry];
      found[tensor.file][tensor.entry] = std::move(tensor);
    }
  for (std::size_t f = 0; f < files.size(); ++f)
    for (std::size_t e = 0; e < files[f].entries.size(); ++e)
      CHECK(count[f][e] == 1, files[f].entries[e].name, " of ", files[f].name, " was written ", count[f][e], " times");
  return found;
}

proto::CheckpointManifest manifest_of(const CheckpointState& state, const std::vector<PlannedFile>& files,
                                      const std::vector<std::string>& parts) {
  const auto written = by_entry(files, parts);
  proto::CheckpointManifest manifest;
  manifest.set_step(state.step);
  manifest.set_cursor(state.cursor);
  manifest.set_applied_updates(state.progress.applied_updates);
  if (state.dtype == DType::kF16) {
    manifest.set_loss_scale(state.progress.loss_scale);
    manifest.set_good_steps(state.progress.good_steps);
  }
  manifest.set_dtype(name_of(state.dtype));
  manifest.set_experiment(state.experiment);
  for (std::size_t f = 0; f < files.size(); ++f) {
    proto::CheckpointTensorFile& file = *manifest.add_tensor_files();
    file.set_name(files[f].name);
    file.set_bytes(files[f].bytes());
    file.set_header_digest(digest_of(std::as_bytes(std::span(files[f].header))));
    for (std::size_t e = 0; e < files[f].entries.size(); ++e) {
      proto::CheckpointTensor& tensor = *file.add_tensors();
      tensor.set_name(files[f].entries[e].name);
      for (const std::string& digest : written[f][e].block_digests) tensor.add_block_digests(digest);
    }
  }
  return manifest;
}

// What stands at `path` already, if anything, is at `aside` or at `temporary` afterwards; it is there until the instant
// at which the new one is, where the file system can exchange two names.
void put_in_place(const fs::path& temporary, const fs::path& path, const fs::path& aside) {
  if (fs::exists(path)) {
    if (renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) return;
    fs::rename(path, aside);
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  if (!error) return;
  std::error_code ignored;
  if (fs::exists(aside)) fs::rename(aside, path, ignored);
  throw UserError(fmt::format("cannot rename {} to {}: {}", temporary.string(), path.string(), error.message()));
}

// Through a network file system a rename may have been another writer's: what is there now must be ours.
void check_in_place(const fs::path& path, const std::string& manifest) {
  if (try_read_file(path / kCheckpointManifestFile, manifest.size()).bytes != manifest)
    throw UserError(fmt::format("{} is not what was just renamed to it: does another run write into {}?", path.string(),
                                path.parent_path().string()));
}

int attempt_seen(const fs::path& folder) {
  int seen = 0;
  if (std::ifstream in(folder / "attempt"); in) in >> seen;
  return seen;
}

}  // namespace

std::string checkpoint_name(std::int64_t step) { return fmt::format("step-{:08}", step); }

void commit_checkpoint(const fs::path& folder, const fs::path& temporary, const CheckpointState& state,
                       const std::vector<PlannedFile>& files, const std::vector<std::string>& parts) {
  proto::CheckpointManifest manifest = manifest_of(state, files, parts);
  const auto add_plain = [&](const std::string& name, const std::string& contents) {
    if (contents.empty()) return;
    write_file_durably(temporary / name, contents);
    proto::CheckpointPlainFile& file = *manifest.add_plain_files();
    file.set_name(name);
    file.set_bytes(contents.size());
    file.set_digest(digest_of(std::as_bytes(std::span(contents))));
  };
  add_plain("config.json", state.config_json);
  add_plain("tokenizer.json", state.tokenizer_json);
  add_plain("model.safetensors.index.json", model_index(files));
  const std::string text = checkpoint_manifest_text(manifest);
  write_file_durably(temporary / kCheckpointManifestFile, text);
  sync_folder(temporary);

  const std::string name = checkpoint_name(state.step);
  const fs::path aside = folder / fmt::format(".{}{}", name, kReplaced);
  put_in_place(temporary, folder / name, aside);
  sync_folder(folder);
  check_in_place(folder / name, text);

  std::error_code ignored;
  fs::remove_all(temporary, ignored);
  fs::remove_all(aside, ignored);
  try {
    write_file_durably(folder / "LATEST", name + "\n");
  } catch (const UserError& error) {
    log_warning("{} is committed, but LATEST does not say so: {}", name, error.what());
  }
}

std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (const auto step = step_of(entry.path())) found.emplace_back(*step, entry.path());
  std::sort(found.begin(), found.end());
  std::vector<fs::path> paths;
  for (auto& [step, path] : found) paths.push_back(std::move(path));
  return paths;
}

void remove_old_checkpoints(const fs::path& folder, std::int64_t committed, const Retention& retention) {
  std::vector<fs::path> candidates;
  for (const fs::path& path : list_checkpoints(folder))
    if (*step_of(path) <= committed) candidates.push_back(path);
  const auto last = static_cast<std::size_t>(std::max(1, retention.keep_last));
  for (std::size_t i = 0; i + last < candidates.size(); ++i) {
    if (retention.keep_every > 0 && *step_of(candidates[i]) % retention.keep_every == 0) continue;
    std::error_code error;
    // Hidden first, so that a half-removed folder is never taken for a checkpoint.
    const fs::path hidden = folder / fmt::format(".{}.removed", candidates[i].filename().string());
    fs::rename(candidates[i], hidden, error);
    if (!error) fs::remove_all(hidden, error);
    if (error) log_warning("cannot remove the old checkpoint {}: {}", candidates[i].string(), error.message());
  }
}

void collect_leftovers(const fs::path& folder) {
  std::vector<fs::path> leftovers;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().filename().string().starts_with(".step-")) leftovers.push_back(entry.path());
  for (const fs::path& path : leftovers) {
    const std::string name = path.filename().string();
    if (name.ends_with(kReplaced)) {
      const fs::path place = folder / name.substr(1, name.size() - 1 - kReplaced.size());
      if (!fs::exists(place)) {
        fs::rename(path, place);
        log_info("put back {}, which an attempt had moved aside", place.string());
        continue;
      }
    }
    fs::remove_all(path, error);
    log_info("removed {}, which an attempt left unfinished", path.string());
  }
}

void claim_attempt(const fs::path& folder, int attempt) {
  if (const int seen = attempt_seen(folder); attempt < seen)
    throw UserError(
        fmt::format("{} belongs to attempt {} by now, and this is attempt {}", folder.string(), seen, attempt));
  write_file_durably(folder / "attempt", std::to_string(attempt) + "\n");
}

void check_attempt(const fs::path& folder, int attempt) {
  if (const int seen = attempt_seen(folder); seen != attempt)
    throw UserError(fmt::format("attempt {} has taken {} over from this one, {}", seen, folder.string(), attempt));
}

}  // namespace trireme
