// Which tensors a checkpoint has, in which files, at which bytes: a function of the parameters' declarations and the
// dtype alone, so that every mesh writes the same files.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "parallel/placement/param_spec.h"
#include "trainer/checkpoint/safetensors.h"

namespace trireme {

enum class TensorKind { kModel, kMaster, kFirstMoment, kSecondMoment };
const char* file_stem(TensorKind kind);  // "model", "master", ...

struct PlannedFile {
  std::string name;  // "model-00001-of-00002.safetensors"
  TensorKind kind = TensorKind::kModel;
  std::vector<SafetensorsEntry> entries;
  std::string header;

  std::uint64_t bytes() const {
    return header.size() + (entries.empty() ? 0 : entries.back().begin + entries.back().bytes());
  }
};

// Model files in `dtype`, masters unless that is fp32, and both moments. A file begins anew before a tensor that would
// take it past `max_file_bytes` of data. Tensors stand in the order in which the specs name them.
std::vector<PlannedFile> plan_files(std::span<const ParamSpec* const> specs, DType dtype, std::uint64_t max_file_bytes);

// model.safetensors.index.json, which Hugging Face's libraries want where there is more than one model file; else
// empty.
std::string model_index(const std::vector<PlannedFile>& files);

}  // namespace trireme
