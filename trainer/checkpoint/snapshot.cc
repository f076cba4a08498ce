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

// A box that a rank holds of a parameter.
struct Holding {
  int rank = 0;
  Box box;
  std::size_t param = 0;  // of that rank's list
  bool speaks = true;     // the lowest rank of those with this box
};

// By parameter of the model, all ranks' in turn.
std::vector<std::vector<Holding>> gather_holdings(Communicator& world, const CheckpointState& state) {
  std::unordered_map<const ParamSpec*, std::size_t> number;
  for (std::size_t p = 0; p < state.specs.size(); ++p) number[state.specs[p]] = p;
  std::string mine;
  for (const CheckpointParam& param : state.params) {
    CHECK(number.contains(param.spec), param.spec->name, " is no parameter of the model");
    mine += std::to_string(number.at(param.spec)) + " " + text_of(param.box);
  }
  std::vector<std::vector<Holding>> holdings(state.specs.size());
  const std::vector<std::string> messages = world.gather_to_all(mine, {state.step, "checkpoint boxes"});
  for (std::size_t rank = 0; rank < messages.size(); ++rank) {
    std::istringstream in(messages[rank]);
    std::size_t p = 0;
    for (std::size_t param = 0; in >> p; ++param) {
      Holding held{.rank = static_cast<int>(rank), .box = {}, .param = param};
      for (int dim = 0; dim < state.specs.at(p)->shape.dims(); ++dim) {
        std::int64_t begin = 0, size = 0;
        in >> begin >> size;
        held.box.begin.append(begin);
        held.box.size.append(size);
      }
      CHECK(!in.fail(), "a rank sent a box that ends early");
      for (const Holding& before : holdings[p]) held.speaks &= before.box != held.box;
      if (!held.box.empty()) holdings[p].push_back(held);
    }
  }
  return holdings;
}

class Assembly {
 public:
  Assembly(Context& context, Communicator& world, const CheckpointState& state, const std::vector<PlannedFile>& files)
      : context_(context),
        world_(world),
        state_(state),
        files_(files),
        writers_(choose_writers(files, world.size())),
        holdings_(gather_holdings(world, state)) {
    for (std::size_t f = 0; f < files_.size(); ++f)
      for (std::size_t e = 0; e < files_[f].entries.size(); ++e)
        if (writers_.at(files_[f].entries[e].name) == world_.rank()) add_target(f, e);
  }

  std::vector<TensorBytes> run() {
    for (std::size_t p = 0; p < state_.specs.size(); ++p) {
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
    const std::vector<FileBox>& files = state_.specs[p]->files;
    return std::any_of(files.begin(), files.end(), [&](const auto& f) { return writers_.at(f.tensor) == rank; });
  }
  // What the rank holds of a parameter if that is all of it.
  const Holding* whole_of(std::size_t p, int rank) const {
    for (const Holding& held : holdings_[p])
      if (held.rank == rank && held.box == whole(state_.specs[p]->shape)) return &held;
    return nullptr;
  }
  bool exchanged(std::size_t p) const {
    const std::vector<FileBox>& files = state_.specs[p]->files;
    return std::any_of(files.begin(), files.end(),
                       [&](const FileBox& file) { return whole_of(p, writers_.at(file.tensor)) == nullptr; });
  }

  std::vector<float> download(const Holding& mine, TensorKind kind) const {
    std::vector<float> values(static_cast<std::size_t>(mine.box.elements()));
    context_.device->download(context_.compute, values.data(), source(state_.params[mine.param], kind));
    context_.device->synchronize(context_.compute);
    return values;
  }

  void take_own(std::size_t p, TensorKind kind) {
    const ParamSpec& spec = *state_.specs[p];
    const Holding& mine = *whole_of(p, world_.rank());
    const FileBox& first = spec.files.front();
    if (!is_same_tensor(spec, first)) return place(p, kind, mine.box, download(mine, kind));
    Target& target = targets_.at({kind, first.tensor});
    context_.device->download(context_.compute, tensors_[target.tensor].memory.get(),
                              source(state_.params[mine.param], kind));
    target.filled += mine.box.elements();
  }

  // The boxes that this rank speaks for, one after the other, to all ranks; the writers keep what is theirs.
  void exchange(std::size_t p, TensorKind kind) {
    const std::string& name = state_.specs[p]->name;
    std::vector<float> mine;
    std::vector<std::size_t> elements(static_cast<std::size_t>(world_.size()));
    for (const Holding& held : holdings_[p]) {
      if (!held.speaks) continue;
      elements[static_cast<std::size_t>(held.rank)] += static_cast<std::size_t>(held.box.elements());
      if (held.rank != world_.rank()) continue;
      const std::vector<float> values = download(held, kind);
      mine.insert(mine.end(), values.begin(), values.end());
    }
    std::vector<std::vector<float>> all(static_cast<std::size_t>(world_.size()));
    const std::size_t longest = *std::max_element(elements.begin(), elements.end());
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
    if (!writes_part_of(p, world_.rank())) return;
    std::vector<std::size_t> read(all.size());
    for (const Holding& held : holdings_[p]) {
      if (!held.speaks) continue;
      const auto rank = static_cast<std::size_t>(held.rank);
      const auto size = static_cast<std::size_t>(held.box.elements());
      place(p, kind, held.box, std::span(all[rank]).subspan(read[rank], size));
      read[rank] += size;
    }
  }

  // Into the tensors that this rank writes.
  void place(std::size_t p, TensorKind kind, const Box& box, std::span<const float> values) {
    const ParamSpec& spec = *state_.specs[p];
    for (const FileBox* file : file_tensors(spec)) {
      const auto target = targets_.find({kind, file->tensor});
      if (target == targets_.end()) continue;
      target->second.filled +=
          copy_to_file(spec, box, file->tensor, values, values_of(tensors_[target->second.tensor]));
    }
  }

  void round_weights(TensorBytes& tensor) {
    if (!is_rounded(tensor)) return;
    const DType dtype = entry_of(tensor).dtype;
    CHECK(dtype == DType::kBF16 || dtype == DType::kF16, "weights in ", name_of(dtype));
    const std::span<const float> masters =
        values_of(tensors_[targets_.at({TensorKind::kMaster, entry_of(tensor).name}).tensor]);
    auto* weights = reinterpret_cast<std::uint16_t*>(tensor.memory.get());
    std::transform(masters.begin(), masters.end(), weights, dtype == DType::kBF16 ? round_to_bf16 : round_to_fp16);
  }

  Context& context_;
  Communicator& world_;
  const CheckpointState& state_;
  const std::vector<PlannedFile>& files_;
  std::unordered_map<std::string, int> writers_;
  std::vector<std::vector<Holding>> holdings_;
  std::vector<TensorBytes> tensors_;
  std::map<std::pair<TensorKind, std::string>, Target> targets_;  // of those in fp32
};

}  // namespace

std::uint16_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

std::uint16_t round_to_fp16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const float size = std::abs(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7E00 | (bits >> 13 & 0x3FF));
  if (size >= 65520) return sign | 0x7C00;  // halfway to what would be 65536: to even, infinity
  // Below 2^-14 the unit in the last place stays 2^-24; lifted by 2^-1, whose own it is, a sum is rounded there.
  if (size < 0x1p-14f)
    return static_cast<std::uint16_t>(sign |
                                      (std::bit_cast<std::uint32_t>(size + 0.5f) - std::bit_cast<std::uint32_t>(0.5f)));
  const std::uint32_t kept = std::bit_cast<std::uint32_t>(size) - (112u << 23);  // with the exponent's other bias
  return static_cast<std::uint16_t>(sign | ((kept + 0xFFF + (kept >> 13 & 1)) >> 13));
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
