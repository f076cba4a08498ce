#include "tests/trainer/checkpoint/scratch.h"

#include <bit>
#include <cstring>

#include <gtest/gtest.h>

#include "monitoring/error.h"

namespace trireme {

namespace fs = std::filesystem;

void flip_bit(const fs::path& path, std::uint64_t byte, int bit) {
  std::string bytes = read_bytes(path);
  bytes.at(byte) = static_cast<char>(bytes[byte] ^ 1 << bit);
  write_bytes(path, bytes);
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename().string()] = read_bytes(entry.path());
  return files;
}

std::vector<ParamSpec> small_model(bool gpt2) {
  constexpr std::int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 3, kHidden = 6, kFfn = 10, kVocab = 11;
  constexpr std::int64_t kRows = kHeads * kHeadDim, kKvRows = kKvHeads * kHeadDim;
  const auto spec = [](const char* name, const Shape& shape, int row_dims, std::vector<FileBox> files) {
    ParamSpec made;
    made.name = name;
    made.shape = shape;
    made.row_dims = row_dims;
    made.files = std::move(files);
    return made;
  };
  std::vector<ParamSpec> specs;
  specs.push_back(spec("embedding", {kVocab, kHidden}, 1, {{"wte", {kVocab, kHidden}, 0, kVocab, 0, 0, false}}));
  specs.push_back(spec("norm", {kHidden}, 0, {{"ln", {kHidden}, 0, 1, 0, 0, false}}));
  if (gpt2) {
    const Shape fused{kHidden, kRows + 2 * kKvRows};
    specs.push_back(spec("q", {kHeads, kHeadDim, kHidden}, 2, {{"c_attn", fused, 0, kRows, 0, 0, true}}));
    specs.push_back(spec("kv", {2, kKvHeads, kHeadDim, kHidden}, 3,
                         {{"c_attn", fused, 0, kKvRows, 0, kRows, true},
                          {"c_attn", fused, kKvRows, kKvRows, 0, kRows + kKvRows, true}}));
    specs.push_back(spec("up", {kFfn, kHidden}, 1, {{"c_fc", {kHidden, kFfn}, 0, kFfn, 0, 0, true}}));
  } else {
    specs.push_back(spec("q", {kHeads, kHeadDim, kHidden}, 2, {{"q_proj", {kRows, kHidden}, 0, kRows, 0, 0, false}}));
    specs.push_back(spec("kv", {2, kKvHeads, kHeadDim, kHidden}, 3,
                         {{"k_proj", {kKvRows, kHidden}, 0, kKvRows, 0, 0, false},
                          {"v_proj", {kKvRows, kHidden}, kKvRows, kKvRows, 0, 0, false}}));
    specs.push_back(spec(
        "gate_up", {2, kFfn, kHidden}, 2,
        {{"gate_proj", {kFfn, kHidden}, 0, kFfn, 0, 0, false}, {"up_proj", {kFfn, kHidden}, kFfn, kFfn, 0, 0, false}}));
  }
  return specs;
}

float value_of(const Model& model, std::size_t param, int kind, std::int64_t element) {
  std::uint64_t x = model.seed * 0x9E3779B97F4A7C15 + param * 0xBF58476D1CE4E5B9 + static_cast<std::uint64_t>(kind) +
                    static_cast<std::uint64_t>(element) * 0x94D049BB133111EB;
  x = (x ^ x >> 31) * 0xD6E8FEB86659FD93;
  x ^= x >> 32;
  // Finite, of either sign and of many sizes; fp32 values that are not bf16 ones.
  return std::bit_cast<float>(static_cast<std::uint32_t>(x & 0x80FFFFFF) | 0x3B000000u);
}

namespace {

std::vector<std::pair<std::size_t, Box>> boxes_of(const Model& model, AxisPlaces places) {
  const AxisPlace dp = places[Axis::kDp], pp = places[Axis::kPp];
  if (model.runs) places[Axis::kDp] = {};
  std::vector<std::pair<std::size_t, Box>> boxes;
  for (std::size_t p = 0; p < model.specs.size(); ++p) {
    const bool here = static_cast<std::int64_t>(p) % pp.parts == pp.index || (p == 0 && pp.index == pp.parts - 1);
    if (model.staged && !here) continue;
    const Box box = local_box(model.specs[p], places);
    if (!model.runs) {
      boxes.emplace_back(p, box);
      continue;
    }
    const std::int64_t begin = box.elements() * dp.index / dp.parts;
    const std::int64_t end = box.elements() * (dp.index + 1) / dp.parts;
    for (const Box& part : boxes_of_run(box.size, begin, end)) boxes.emplace_back(p, inside(box, part));
  }
  return boxes;
}

}  // namespace

HeldModel::HeldModel(LocalRank& rank, const Model& model, const std::vector<AxisPlaces>& places, Fill fill)
    : rank_(rank) {
  context_ = {.device = &rank.device(), .ops = nullptr, .arena = nullptr, .compute = rank.compute()};
  state_ = {.step = model.step,
            .cursor = 8 * model.step,
            .progress = {.applied_updates = model.step - 1,
                         .loss_scale = static_cast<float>(1 << model.step % 8),
                         .good_steps = model.step % 5},
            .dtype = model.dtype,
            .experiment = model.experiment,
            .config_json = "{\"model_type\": \"small\"}\n",
            .tokenizer_json = "{\"version\": \"1.0\"}\n",
            .specs = {},
            .params = {}};
  for (const ParamSpec& spec : model.specs) state_.specs.push_back(&spec);
  for (const auto& [p, box] : boxes_of(model, places[static_cast<std::size_t>(rank.rank())])) {
    const ParamSpec& spec = model.specs[p];
    const auto make = [&](int kind) {
      std::vector<float> values(static_cast<std::size_t>(box.elements()));
      if (fill == Fill::kValues && !box.empty())
        for_each_run(spec.shape, box, [&](BoxRun run) {
          for (std::int64_t i = 0; i < run.count; ++i)
            values[static_cast<std::size_t>(run.local + i)] = value_of(model, p, kind, run.global + i);
        });
      const Tensor made = rank.tensor<float>(box.size, DType::kF32, values);
      rank.device().synchronize(rank.communication());
      return made;
    };
    state_.params.push_back(
        {.spec = &spec, .box = box, .master = make(0), .first_moment = make(1), .second_moment = make(2)});
  }
}

void HeldModel::expect_values(const Model& model) {
  for (std::size_t p = 0; p < state_.params.size(); ++p) {
    const CheckpointParam& param = state_.params[p];
    const auto number = static_cast<std::size_t>(param.spec - state_.specs[0]);
    if (param.box.empty()) continue;
    const Tensor tensors[] = {param.master, param.first_moment, param.second_moment};
    for (int kind = 0; kind < 3; ++kind) {
      const std::vector<float> values = rank_.read<float>(tensors[kind]);
      std::int64_t wrong = 0;
      for_each_run(param.spec->shape, param.box, [&](BoxRun run) {
        for (std::int64_t i = 0; i < run.count; ++i)
          wrong += std::bit_cast<std::uint32_t>(values[static_cast<std::size_t>(run.local + i)]) !=
                   std::bit_cast<std::uint32_t>(value_of(model, number, kind, run.global + i));
      });
      EXPECT_EQ(wrong, 0) << param.spec->name << ", kind " << kind << ", rank " << rank_.rank();
    }
  }
}

void HeldModel::overwrite() {
  for (const CheckpointParam& param : state_.params)
    for (const Tensor& tensor : {param.master, param.first_moment, param.second_moment}) {
      const std::vector<float> other(static_cast<std::size_t>(tensor.elements()), -1.0f);
      rank_.device().upload(rank_.compute(), tensor, other.data());
    }
  rank_.device().synchronize(rank_.compute());
}

std::vector<AxisPlaces> grid(std::int64_t tp, std::int64_t dp, std::int64_t replicas) {
  std::vector<AxisPlaces> places;
  for (std::int64_t rank = 0; rank < tp * dp * replicas; ++rank) {
    AxisPlaces& at = places.emplace_back();
    at[Axis::kTp] = {tp, rank % tp};
    at[Axis::kDp] = {dp, rank / tp % dp};
    at[Axis::kPp] = {replicas, rank / (tp * dp)};
  }
  return places;
}

CheckpointSaver::Outcome save_model(const fs::path& folder, const Model& model, const std::vector<AxisPlaces>& places,
                                    std::uint64_t max_file_bytes, const Retention& retention, int attempt) {
  CheckpointSaver::Outcome outcome;
  expect_ranks(static_cast<int>(places.size()), {}, [&](LocalRank& rank) {
    HeldModel held(rank, model, places, HeldModel::Fill::kValues);
    CheckpointSaver saver(held.context(), rank.comm(), folder, retention, attempt, max_file_bytes);
    saver.save(held.state());
    held.overwrite();  // the loop goes on
    const CheckpointSaver::Outcome mine = saver.finish();
    if (rank.rank() == 0) outcome = mine;
  });
  return outcome;
}

Loaded load_model(const fs::path& folder, const Model& model, const std::vector<AxisPlaces>& places) {
  Loaded loaded;
  expect_ranks(static_cast<int>(places.size()), {}, [&](LocalRank& rank) {
    HeldModel held(rank, model, places, HeldModel::Fill::kZeros);
    Loaded mine;
    try {
      if (const auto resumed = load_newest(held.context(), rank.comm(), folder, held.state(), mine.passed_over)) {
        mine.step = resumed->step;
        EXPECT_EQ(resumed->cursor, 8 * resumed->step);
        EXPECT_EQ(resumed->progress.applied_updates, resumed->step - 1);
        const bool scaled = model.dtype == DType::kF16;
        EXPECT_EQ(resumed->progress.loss_scale, scaled ? static_cast<float>(1 << resumed->step % 8) : 1);
        EXPECT_EQ(resumed->progress.good_steps, scaled ? resumed->step % 5 : 0);
        held.expect_values(model);
      }
    } catch (const DamagedDataError& error) {
      mine.damaged = error.what();
    } catch (const UserError& error) {
      mine.refused = error.what();
    }
    if (rank.rank() == 0) loaded = mine;
  });
  return loaded;
}

}  // namespace trireme
