#include "trainer/checkpoint/file_plan.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "parallel/placement/file_boxes.h"

namespace trireme {
namespace {

// Every Hugging Face tensor once, where the specs name it first.
std::vector<SafetensorsEntry> tensors_of(std::span<const ParamSpec* const> specs, DType dtype) {
  std::vector<SafetensorsEntry> tensors;
  for (const ParamSpec* spec : specs)
    for (const FileBox& file : spec->files)
      if (std::none_of(tensors.begin(), tensors.end(), [&](const auto& known) { return known.name == file.tensor; }))
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
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
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
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", bytes}}}, {"weight_map", std::move(map)}};
  return index.dump(2) + "\n";
}

std::int64_t copy_pieces(const ParamSpec& spec, const Box& box, const std::string& name, std::span<float> ours,
                         std::span<float> theirs, CopyTo direction) {
  if (box.empty()) return 0;
  std::int64_t columns_of_box = 1;
  for (int dim = spec.row_dims; dim < box.dims(); ++dim) columns_of_box *= box.size[dim];
  std::int64_t copied = 0;
  for (const FileBox& file : spec.files) {
    if (file.tensor != name) continue;
    const std::int64_t their_columns = file_matrix(file)[1];
    for (const FilePiece& piece : pieces_in(spec, file, box)) {
      const std::int64_t row_step = piece.transposed ? 1 : their_columns;
      const std::int64_t column_step = piece.transposed ? their_columns : 1;
      for (std::int64_t r = 0; r < piece.rows; ++r)
        for (std::int64_t c = 0; c < piece.columns; ++c) {
          float& mine = ours[static_cast<std::size_t>((piece.row + r) * columns_of_box + piece.column + c)];
          float& other = theirs[static_cast<std::size_t>(piece.at_row * their_columns + piece.at_column + r * row_step +
                                                         c * column_step)];
          (direction == CopyTo::kTheirs ? other : mine) = direction == CopyTo::kTheirs ? mine : other;
        }
      copied += piece.rows * piece.columns;
    }
  }
  return copied;
}

}  // namespace trireme
