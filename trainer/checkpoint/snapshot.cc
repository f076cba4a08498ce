#include "trainer/checkpoint/snapshot.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <sstream>
#include <string>

namespace trireme {
namespace {

constexpr std::array kKinds = {TensorKind::kMaster, TensorKind::kFirstMoment, TensorKind::kSecondMoment};

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
std::map<std::string, int> choose_writers(const std::vector<PlannedFile>& files, int ranks) {
  std::map<std::string, int> writers;
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
        boxes_(gather_boxes(world, state)) {}

  std::vector<TensorBytes> run() {
    std::string outgoing;
    for (std::size_t p = 0; p < state_.params.size(); ++p) add_own(p, outgoing);
    if (any_exchange()) receive(world_.gather_to_all(outgoing, {state_.step, "checkpoint fragments"}));
    std::vector<TensorBytes> tensors;
    for (std::size_t f = 0; f < files_.size(); ++f)
      for (std::size_t e = 0; e < files_[f].entries.size(); ++e)
        if (writers_.at(files_[f].entries[e].name) == world_.rank()) tensors.push_back(finished(f, e));
    return tensors;
  }

 private:
  bool writes_part_of(std::size_t p, int rank) const {
    for (const FileBox& file : state_.params[p].spec->files)
      if (writers_.at(file.tensor) == rank) return true;
    return false;
  }
  bool has_all(std::size_t p, int rank) const {
    return boxes_[static_cast<std::size_t>(rank)][p] == whole(state_.params[p].spec->shape);
  }
  bool exchanged(std::size_t p) const {
    for (int rank = 0; rank < world_.size(); ++rank)
      if (writes_part_of(p, rank) && !has_all(p, rank)) return true;
    return false;
  }
  bool any_exchange() const {
    for (std::size_t p = 0; p < state_.params.size(); ++p)
      if (exchanged(p)) return true;
    return false;
  }
  bool owns(std::size_t p, int rank) const {
    for (int lower = 0; lower < rank; ++lower)
      if (boxes_[static_cast<std::size_t>(lower)][p] == boxes_[static_cast<std::size_t>(rank)][p]) return false;
    return !boxes_[static_cast<std::size_t>(rank)][p].empty();
  }

  void add_own(std::size_t p, std::string& outgoing) {
    const CheckpointParam& param = state_.params[p];
    const bool send = exchanged(p) && owns(p, world_.rank());
    if (!send && !(writes_part_of(p, world_.rank()) && !exchanged(p))) return;
    for (const TensorKind kind : kKinds) {
      std::vector<float> values(static_cast<std::size_t>(param.box.elements()));
      context_.device->download(context_.compute, values.data(), source(param, kind));
      context_.device->synchronize(context_.compute);
      if (send)
        outgoing.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
      else
        place(p, kind, param.box, values);
    }
  }

  void receive(const std::vector<std::string>& messages) {
    for (int rank = 0; rank < world_.size(); ++rank) {
      const std::string& message = messages[static_cast<std::size_t>(rank)];
      std::size_t at = 0;
      for (std::size_t p = 0; p < state_.params.size(); ++p) {
        if (!exchanged(p) || !owns(p, rank)) continue;
        const Box& box = boxes_[static_cast<std::size_t>(rank)][p];
        for (const TensorKind kind : kKinds) {
          std::vector<float> values(static_cast<std::size_t>(box.elements()));
          const std::size_t bytes = values.size() * sizeof(float);
          CHECK(at + bytes <= message.size(), "rank ", rank, " sent too little of ", state_.params[p].spec->name);
          std::memcpy(values.data(), message.data() + at, bytes);
          at += bytes;
          place(p, kind, box, values);
        }
      }
    }
  }

  // Into the tensors that this rank writes.
  void place(std::size_t p, TensorKind kind, const Box& box, std::span<float> values) {
    const ParamSpec& spec = *state_.params[p].spec;
    std::string last;
    for (const FileBox& file : spec.files) {
      if (file.tensor == last || writers_.at(file.tensor) != world_.rank()) continue;
      last = file.tensor;
      Buffer& buffer = buffers_[{kind, file.tensor}];
      if (buffer.values.empty()) buffer.values.resize(static_cast<std::size_t>(file.tensor_shape.elements()));
      buffer.filled += copy_pieces(spec, box, file.tensor, values, buffer.values, CopyTo::kTheirs);
    }
  }

  TensorBytes finished(std::size_t f, std::size_t e) {
    const SafetensorsEntry& entry = files_[f].entries[e];
    const TensorKind kind = files_[f].kind == TensorKind::kModel ? TensorKind::kMaster : files_[f].kind;
    const Buffer& buffer = buffers_[{kind, entry.name}];
    CHECK(buffer.filled == entry.shape.elements(), entry.name, ": ", buffer.filled, " of ", entry.shape.elements(),
          " elements belong to some rank");
    TensorBytes tensor{.file = f, .entry = e, .bytes = std::vector<std::byte>(entry.bytes())};
    if (entry.dtype == DType::kF32) {
      std::memcpy(tensor.bytes.data(), buffer.values.data(), tensor.bytes.size());
    } else {
      CHECK(entry.dtype == DType::kBF16, "weights in ", name_of(entry.dtype));
      for (std::size_t i = 0; i < buffer.values.size(); ++i) {
        const std::uint16_t bits = round_to_bf16(buffer.values[i]);
        std::memcpy(tensor.bytes.data() + 2 * i, &bits, 2);
      }
    }
    return tensor;
  }

  struct Buffer {
    std::vector<float> values;
    std::int64_t filled = 0;  // elements
  };

  Context& context_;
  Communicator& world_;
  const CheckpointState& state_;
  const std::vector<PlannedFile>& files_;
  std::map<std::string, int> writers_;
  std::vector<std::vector<Box>> boxes_;
  std::map<std::pair<TensorKind, std::string>, Buffer> buffers_;
};

}  // namespace

std::uint16_t round_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

std::vector<TensorBytes> take_snapshot(Context& context, Communicator& world, const CheckpointState& state,
                                       const std::vector<PlannedFile>& files) {
  return Assembly(context, world, state, files).run();
}

}  // namespace trireme
