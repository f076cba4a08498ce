#include <algorithm>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "launch/command_line/inspect.h"
#include "launch/command_line/output.h"
#include "monitoring/error.h"
#include "monitoring/run_report.h"
#include "trainer/checkpoint/verify.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

void refuse_text(const fs::path& path, const InspectOptions& options) {
  if (!options.text_of_split.empty())
    throw UserError("--text is for data sets, and " + path.string() + " is a checkpoint or a run");
}

bool holds_weights(const std::string& file) { return file.starts_with("model"); }

std::string shape_text(const Shape& shape) {
  std::string text;
  for (int dim = 0; dim < shape.dims(); ++dim) {
    if (dim > 0) text += " x ";
    text += std::to_string(shape[dim]);
  }
  return text.empty() ? "scalar" : text;
}

std::string tensor_table(const OpenCheckpoint& checkpoint) {
  Table table({"tensor", "dtype", "shape", "elements"}, {Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight});
  std::int64_t elements = 0;
  for (const auto& file : checkpoint.manifest().tensor_files()) {
    if (!holds_weights(file.name())) continue;
    for (const auto& tensor : file.tensors()) {
      const SafetensorsEntry& entry = checkpoint.entry("model", tensor.name());
      table.row({entry.name, name_of(entry.dtype), shape_text(entry.shape), exact_count(entry.shape.elements())});
      elements += entry.shape.elements();
    }
  }
  table.total({"all", "", "", exact_count(elements)});
  return table.text();
}

std::string file_table(const proto::CheckpointManifest& manifest) {
  Table table({"file", "tensors", "bytes"}, {Align::kLeft, Align::kRight, Align::kRight});
  double bytes = 0;
  for (const auto& file : manifest.tensor_files()) {
    table.row({file.name(), exact_count(file.tensors_size()), human_bytes(static_cast<double>(file.bytes()))});
    bytes += static_cast<double>(file.bytes());
  }
  for (const auto& file : manifest.plain_files()) {
    table.row({file.name(), "", human_bytes(static_cast<double>(file.bytes()))});
    bytes += static_cast<double>(file.bytes());
  }
  table.total({"all", "", human_bytes(bytes)});
  return table.text();
}

std::string indented(const std::string& text) {
  std::istringstream lines(text);
  std::string out;
  for (std::string line; std::getline(lines, line);) out += fmt::format("  {}\n", line);
  return out;
}

}  // namespace

void inspect_checkpoint(const fs::path& folder, const InspectOptions& options) {
  refuse_text(folder, options);
  const OpenCheckpoint checkpoint(folder);
  const proto::CheckpointManifest& manifest = checkpoint.manifest();
  if (options.verify) {
    const std::string damage = checkpoint.tensor_damage(0, 1);
    if (!damage.empty()) throw DamagedDataError(damage);
  }
  write_output(fmt::format("{}: a checkpoint after step {}\n", folder.string(), manifest.step()));
  write_output(fmt::format("next sample {}, {} updates applied, weights in {}\n", exact_count(manifest.cursor()),
                           exact_count(manifest.applied_updates()), manifest.dtype()));
  write_output(fmt::format("\n{}", file_table(manifest)));
  if (options.tensors) write_output(fmt::format("\n{}", tensor_table(checkpoint)));
  write_output(fmt::format("\nits experiment:\n{}", indented(manifest.experiment())));
  if (options.verify) write_output("Every block has the manifest's digest.\n");
}

void inspect_run(const fs::path& run, const InspectOptions& options) {
  refuse_text(run, options);
  std::vector<fs::path> checkpoints;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
    if (entry.path().filename().string().starts_with("step-")) checkpoints.push_back(entry.path());
  }
  std::sort(checkpoints.begin(), checkpoints.end());
  if (checkpoints.empty()) throw UserError(run.string() + " is a run without a checkpoint yet");
  write_output(fmt::format("{}: a run with {} {}\n", run.string(), checkpoints.size(),
                           checkpoints.size() == 1 ? "checkpoint" : "checkpoints"));
  for (const fs::path& checkpoint : checkpoints) write_output(fmt::format("  {}\n", checkpoint.filename().string()));
  write_output("\nThe newest:\n");
  inspect_checkpoint(checkpoints.back(), options);
}

}  // namespace trireme
