#include "trainer/checkpoint/commit.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "dataloader/shard/durable_file.h"
#include "monitoring/error.h"
#include "monitoring/log.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

void sync_folder(const fs::path& path) {
  const int folder = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) throw UserError(fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  const int failed = fsync(folder);
  const int error = errno;
  close(folder);
  if (failed != 0) throw UserError(fmt::format("cannot make {} durable: {}", path.string(), std::strerror(error)));
}

// "step-00000100" -> 100; nothing for other names.
std::optional<std::int64_t> step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  constexpr std::string_view kPrefix = "step-";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return step;
}

std::vector<std::vector<WrittenTensor>> by_entry(const std::vector<PlannedFile>& files,
                                                 const std::vector<std::string>& parts) {
  std::vector<std::vector<WrittenTensor>> found(files.size());
  for (std::size_t f = 0; f < files.size(); ++f) found[f].resize(files[f].entries.size());
  std::vector<std::vector<int>> count(files.size());
  for (std::size_t f = 0; f < files.size(); ++f) count[f].resize(files[f].entries.size());
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

}  // namespace

std::string checkpoint_name(std::int64_t step) { return fmt::format("step-{:08}", step); }

std::string encode_written(const std::vector<WrittenTensor>& written) {
  std::string text;
  for (const WrittenTensor& tensor : written) {
    text += fmt::format("{} {} {}", tensor.file, tensor.entry, tensor.block_digests.size());
    for (const std::string& digest : tensor.block_digests) text += " " + digest;
    text += "\n";
  }
  return text;
}

std::vector<WrittenTensor> decode_written(const std::string& text) {
  std::vector<WrittenTensor> written;
  std::istringstream in(text);
  WrittenTensor tensor;
  std::size_t digests = 0;
  while (in >> tensor.file >> tensor.entry >> digests) {
    tensor.block_digests.resize(digests);
    for (std::string& digest : tensor.block_digests) in >> digest;
    written.push_back(tensor);
  }
  return written;
}

void commit_checkpoint(const fs::path& folder, const fs::path& temporary, const CheckpointState& state,
                       const std::vector<PlannedFile>& files, const std::vector<std::string>& parts) {
  const auto written = by_entry(files, parts);
  proto::CheckpointManifest manifest;
  manifest.set_step(state.step);
  manifest.set_cursor(state.cursor);
  manifest.set_applied_updates(state.applied_updates);
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
  write_file_durably(temporary / kCheckpointManifestFile, checkpoint_manifest_text(manifest));
  sync_folder(temporary);

  const fs::path path = folder / checkpoint_name(state.step);
  std::error_code error;
  // Of an attempt that was resumed from before it: what is there under this name did not verify.
  if (fs::exists(path)) fs::rename(path, folder / fmt::format(".{}.replaced", checkpoint_name(state.step)), error);
  fs::rename(temporary, path, error);
  if (error)
    throw UserError(fmt::format("cannot rename {} to {}: {}", temporary.string(), path.string(), error.message()));
  sync_folder(folder);
  fs::remove_all(folder / fmt::format(".{}.replaced", checkpoint_name(state.step)), error);
  write_file_durably(folder / "LATEST", checkpoint_name(state.step) + "\n");
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

}  // namespace trireme
