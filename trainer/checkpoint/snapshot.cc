#include "trainer/checkpoint/snapshot.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <unordered_map>

#include "trainer/checkpoint/file_copy.h"

namespace trireme {
namespace {

constexpr std::array kKinds = {TensorKind::kMaster, TensorKind::kFirstMoment, TensorKind::kSecondMoment};
constexpr std::size_t kMessageFloats = std::size_t{1} << 18;  // that a rank sends at once

Tensor source(const CheckpointParam& param, TensorKind kind) {
  switch (kind) {
    case TensorKind::kFirstMoment:
      return param.first_moment;
    case TensorKind::kSecondMoment:
      return param.second_moment;
    default:
      return param.master;
  }
}

// Tensor name -> writer: runs of tensors of about equal bytes, in the order of the files.
std::unordered_map<std::string, int> choose_writers(const std::vector<PlannedFile>& files, int ranks) {
  std::unordered_map<std::string, int> writers;
  std::uint64_t total = 0;
  for (const PlannedFile& file : files)
    if (file.kind == TensorKind::kModel)
      for (const SafetensorsEntry& entry : file.entries) total += entry.bytes();
  std::uint64_t before = 0;
  for (const PlannedFile& file : files)
    if (file.kind == TensorKind::kModel)
      for (const SafetensorsEntry& entry : file.entries) {
        const double middle = static_cast<double>(before) + 0.5 * static_cast<double>(entry.bytes());
        const double share = total == 0 ? 0 : middle / static_cast<double>(total);
        writers[entry.name] = std::min(ranks - 1, static_cast<int>(share * ranks));
        before += entry.bytes();
      }
  return writers;
}

std::string text_of(const Box& box) {
  std::string text;
  for (int dim = 0; dim < box.dims(); ++dim)
    text += std::to_string(box.begin[dim]) + " " + std::to_string(box.size[dim]) + " ";
  return text;
}

// boxes[rank][param]
std::vector<std::vector<Box>> gather_boxes(Communicator& world, const CheckpointState& state) {
  std::string mine;
  for (const CheckpointParam& param : state.params) mine += text_of(param.box);
  std::vector<std::vector<Box>> boxes;
  for (const std::string& message : world.gather_to_all(mine, {state.step, "checkpoint boxes"})) {
    std::istringstream in(message);
    boxes.emplace_back();
    for (const CheckpointParam& param : state.params) {
      Box box;
      for (int dim = 0; dim < param.box.dims(); ++dim) {
        std::int64_t begin = 0, size = 0;
        in >> begin >> size;
        box.begin.append(begin);
        box.size.append(size);
      }
      CHECK(!in.fail(), "a rank sent too few boxes");
      boxes.back().push_back(box);
    }
  }
  return boxes;
}

class Assembly {
 public:
  Assembly(Context& context, Communicator& world, const CheckpointState& state, const std::vector<PlannedFile>& files)
      : context_(context),
        world_(world),
        state_(state),
        files_(files),
        writers_(choose_writers(files, world.size())),
        boxes_(gather_boxes(world, state)) {
    for (std::size_t f = 0; f < files_.size(); ++f)
      for (std::size_t e = 0; e < files_[f].entries.size(); ++e)
        if (writers_.at(files_[f].entries[e].name) == world_.rank()) add_target(f, e);
  }

  std::vector<TensorBytes> run() {
    for (std::size_t p = 0; p < state_.params.size(); ++p) {
      const bool needed = exchanged(p);
      if (!needed && !writes_part_of(p, world_.rank())) continue;
      for (const TensorKind kind : kKinds) needed ? exchange(p, kind) : take_own(p, kind);
    }
    context_.device->synchronize(context_.compute);
    for (const auto& [key, target] : targets_) {
      const SafetensorsEntry& entry = files_[tensors_[target.tensor].file].entries[tensors_[target.tensor].entry];
      CHECK(target.filled == entry.shape.elements(), entry.name, ": ", target.filled, " of ", entry.shape.elements(),
            " elements belong to some rank");
    }
    for (TensorBytes& tensor : tensors_) round_weights(tensor);
    return std::move(tensors_);
  }

 private:
  struct Target {
    std::size_t tensor = 0;   // of tensors_
    std::int64_t filled = 0;  // elements
  };

  const SafetensorsEntry& entry_of(const TensorBytes& tensor) const {
    return files_[tensor.file].entries[tensor.entry];
  }
  bool is_rounded(const TensorBytes& tensor) const { return entry_of(tensor).dtype != DType::kF32; }

  void add_target(std::size_t f, std::size_t e) {
    const std::size_t bytes = files_[f].entries[e].bytes();
    tensors_.push_back({f, e, bytes, std::make_unique_for_overwrite<std::byte[]>(bytes)});
    if (is_rounded(tensors_.back())) return;  // made of its master
    const TensorKind kind = files_[f].kind == TensorKind::kModel ? TensorKind::kMaster : files_[f].kind;
    targets_[{kind, files_[f].entries[e].name}] = {tensors_.size() - 1, 0};
  }

  std::span<float> values_of(const TensorBytes& tensor) const {
    return {reinterpret_cast<float*>(tensor.memory.get()), tensor.size / sizeof(float)};
  }

  bool writes_part_of(std::size_t p, int rank) const {
    const std::vector<FileBox>& files = state_.params[p].spec->files;
    return std::any_of(files.begin(), files.end(), [&](const auto& f) { return writers_.at(f.tensor) == rank; });
  }
  const Box& box_of(std::size_t p, int rank) const { return boxes_[static_cast<std::size_t>(rank)][p]; }
  bool has_all(std::size_t p, int rank) const { return box_of(p, rank) == whole(state_.params[p].spec->shape); }
  bool exchanged(std::size_t p) const {
    for (const FileBox& file : state_.params[p].spec->files)
      if (!has_all(p, writers_.at(file.tensor))) return true;
    return false;
  }
  bool owns(std::size_t p, int rank) const {
    for (int lower = 0; lower < rank; ++lower)
      if (box_of(p, lower) == box_of(p, rank)) return false;
    return !box_of(p, rank).empty();
  }

  std::vector<float> download(std::size_t p, TensorKind kind) const {
    std::vector<float> values(static_cast<std::size_t>(state_.params[p].box.elements()));
    context_.device->download(context_.compute, values.data(), source(state_.params[p], kind));
    context_.device->synchronize(context_.compute);
    return values;
  }

  void take_own(std::size_t p, TensorKind kind) {
    const CheckpointParam& param = state_.params[p];
    const FileBox& first = param.spec->files.front();
    if (!is_same_tensor(*param.spec, first)) return place(p, kind, param.box, download(p, kind));
    Target& target = targets_.at({kind, first.tensor});
    context_.device->download(context_.compute, tensors_[target.tensor].memory.get(), source(param, kind));
    target.filled += param.box.elements();
  }

  // Every owner's box to all ranks; the writers keep what is theirs.
  void exchange(std::size_t p, TensorKind kind) {
    const std::string& name = state_.params[p].spec->name;
    std::vector<float> mine;
    if (owns(p, world_.rank())) mine = download(p, kind);
    std::vector<std::vector<float>> all(static_cast<std::size_t>(world_.size()));
    std::size_t longest = 0;
    for (int rank = 0; rank < world_.size(); ++rank)
      longest = std::max(longest, static_cast<std::size_t>(box_of(p, rank).elements()));
    for (std::size_t at = 0; at < longest; at += kMessageFloats) {
      const auto part = std::as_bytes(std::span(mine).subspan(std::min(at, mine.size())));
      const std::string_view message(reinterpret_cast<const char*>(part.data()),
                                     std::min(part.size(), kMessageFloats * sizeof(float)));
      const std::vector<std::string> messages = world_.gather_to_all(message, {state_.step, name});
      if (!writes_part_of(p, world_.rank())) continue;
      for (std::size_t rank = 0; rank < messages.size(); ++rank) {
        const std::size_t had = all[rank].size();
        all[rank].resize(had + messages[rank].size() / sizeof(float));
        std::copy(messages[rank].begin(), messages[rank].end(), reinterpret_cast<char*>(all[rank].data() + had));
      }
    }
    for (int rank = 0; rank < world_.size(); ++rank)
      if (const auto& values = all[static_cast<std::size_t>(rank)]; !values.empty())
        place(p, kind, box_of(p, rank), values);
  }

  // Into the tensors that this rank writes.
  void place(std::size_t p, TensorKind kind, const Box& box, std::span<const float> values) {
    const ParamSpec& spec = *state_.params[p].spec;
    for (const FileBox* file : file_tensors(spec)) {
      const auto target = targets_.find({kind, file->tensor});
      if (target == targets_.end()) continue;
      target->second.filled +=
          copy_to_file(spec, box, file->tensor, values, values_of(tensors_[target->second.tensor]));
    }
  }

  void round_weights(TensorBytes& tensor) {
    if (!is_rounded(tensor)) return;
    CHECK(entry_of(tensor).dtype == DType::kBF16, "weights in ", name_of(entry_of(tensor).dtype));
    const std::span<const float> masters =
        values_of(tensors_[targets_.at({TensorKind::kMaster, entry_of(tensor).name}).tensor]);
    auto* weights = reinterpret_cast<std::uint16_t*>(tensor.memory.get());
    std::transform(masters.begin(), masters.end(), weights, round_to_bf16);
  }

  Context& context_;
  Communicator& world_;
  const CheckpointState& state_;
  const std::vector<PlannedFile>& files_;
  std::unordered_map<std::string, int> writers_;
  std::vector<std::vector<Box>> boxes_;
  std::vector<TensorBytes> tensors_;
  std::map<std::pair<TensorKind, std::string>, Target> targets_;  // of those in fp32
};

}  // namespace

std::uint16_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

float from_fp16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16;
  const std::uint32_t exponent = bits >> 10 & 0x1F;
  const std::uint32_t fraction = bits & 0x3FF;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 31 ? 0xFF : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

std::vector<TensorBytes> take_snapshot(Context& context, Communicator& world, const CheckpointState& state,
                                       const std::vector<PlannedFile>& files) {
  return Assembly(context, world, state, files).run();
}

}  // namespace trireme
