#include "trainer/checkpoint/file_plan.h"

#include <unordered_set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme {
namespace {

// Every Hugging Face tensor once, where the specs name it first.
std::vector<SafetensorsEntry> tensors_of(std::span<const ParamSpec* const> specs, DType dtype) {
  std::vector<SafetensorsEntry> tensors;
  std::unordered_set<std::string_view> known;
  for (const ParamSpec* spec : specs)
    for (const FileBox& file : spec->files)
      if (known.insert(file.tensor).second)
        tensors.push_back({.name = file.tensor, .dtype = dtype, .shape = file.tensor_shape});
  return tensors;
}

std::vector<PlannedFile> split(TensorKind kind, const std::vector<SafetensorsEntry>& tensors,
                               std::uint64_t max_file_bytes) {
  std::vector<PlannedFile> files;
  std::uint64_t filled = 0;
  for (SafetensorsEntry tensor : tensors) {
    if (files.empty() || filled + tensor.bytes() > max_file_bytes) {
      files.push_back({.name = "", .kind = kind, .entries = {}, .header = ""});
      filled = 0;
    }
    tensor.begin = filled;
    filled += tensor.bytes();
    files.back().entries.push_back(std::move(tensor));
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    files[i].name = files.size() == 1
                        ? fmt::format("{}.safetensors", file_stem(kind))
                        : fmt::format("{}-{:05}-of-{:05}.safetensors", file_stem(kind), i + 1, files.size());
    files[i].header = safetensors_header(files[i].entries);
  }
  return files;
}

}  // namespace

const char* file_stem(TensorKind kind) {
  switch (kind) {
    case TensorKind::kModel:
      return "model";
    case TensorKind::kMaster:
      return "master";
    case TensorKind::kFirstMoment:
      return "first_moment";
    case TensorKind::kSecondMoment:
      return "second_moment";
  }
  return "?";
}

std::vector<PlannedFile> plan_files(std::span<const ParamSpec* const> specs, DType dtype,
                                    std::uint64_t max_file_bytes) {
  std::vector<PlannedFile> files = split(TensorKind::kModel, tensors_of(specs, dtype), max_file_bytes);
  for (const TensorKind kind : {TensorKind::kMaster, TensorKind::kFirstMoment, TensorKind::kSecondMoment}) {
    if (kind == TensorKind::kMaster && dtype == DType::kF32) continue;
    for (PlannedFile& file : split(kind, tensors_of(specs, DType::kF32), max_file_bytes))
      files.push_back(std::move(file));
  }
  return files;
}

std::string model_index(const std::vector<PlannedFile>& files) {
  nlohmann::json map = nlohmann::json::object();
  std::uint64_t bytes = 0;
  int model_files = 0;
  for (const PlannedFile& file : files) {
    if (file.kind != TensorKind::kModel) continue;
    ++model_files;
    for (const SafetensorsEntry& entry : file.entries) {
      map[entry.name] = file.name;
      bytes += entry.bytes();
    }
  }
  if (model_files < 2) return "";
  const nlohmann::json index = {{"metadata", {{"total_size", bytes}}}, {"weight_map", std::move(map)}};
  return index.dump(2) + "\n";
}

}  // namespace trireme
