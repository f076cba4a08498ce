// A checkpoint knows no layout, tried on ten that are drawn: what any of them wrote any other loads, saves and resaves
// as the same bytes, and goes on from as one rank would. Bit for bit where exact numerics promise it, which is without
// tp; with it within the bound that follows from the fp64 model's terms, token by token.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <random>
#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "monitoring/error.h"
#include "tests/trainer/checkpoint/scratch.h"
#include "tests/trainer/layout/token_terms.h"
#include "tests/trainer/small_run.h"
#include "trainer/checkpoint/resave.h"
#include "trainer/loop/train_loop.h"

namespace trireme {
namespace {

constexpr int kLayouts = 10;
constexpr int kSamples = 8;  // of a step
constexpr int kLayers = 5;
constexpr int kBefore = 2;  // steps before the checkpoint
constexpr int kAfter = 5;

struct Drawn {
  Layout layout{};
  std::int64_t micro_batch = 1;

  bool promises_bits() const { return layout.mesh.tp == 1; }
  std::string text() const {
    static constexpr const char* kSchedules[] = {"gpipe", "1f1b", "interleaved-1f1b"};
    return fmt::format("dp {} x pp {} x tp {}, ZeRO {}, {}, chunks {}, recompute {}, micro-batch {}", layout.mesh.dp,
                       layout.mesh.pp, layout.mesh.tp, layout.zero_stage, kSchedules[layout.schedule], layout.chunks,
                       to_string(layout.recompute), micro_batch);
  }
};

bool admitted(const Drawn& drawn) {
  const int samples = kSamples / drawn.layout.mesh.dp;
  const PipelineShape shape{drawn.layout.mesh.pp, drawn.layout.chunks};
  if (drawn.layout.mesh.ranks() > 8 || shape.stages() > kLayers || samples % drawn.micro_batch != 0) return false;
  try {
    check_admitted(drawn.layout.schedule, shape, samples / static_cast<int>(drawn.micro_batch));
  } catch (const UserError&) {
    return false;
  }
  return true;
}

std::vector<Drawn> draw_layouts(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto one_of = [&](std::initializer_list<int> values) { return values.begin()[random() % values.size()]; };
  std::vector<Drawn> all;
  std::set<std::string> seen;
  while (all.size() < kLayouts) {
    Drawn drawn;
    Layout& layout = drawn.layout;
    layout.mesh.dp = one_of({1, 2, 4});
    layout.mesh.pp = one_of({1, 2, 3, 4});
    layout.mesh.tp = one_of({1, 1, 2, 4});
    layout.zero_stage = one_of({0, 1, 2, 3});
    if (layout.mesh.pp > 1) layout.schedule = static_cast<config::Pipeline::Schedule>(one_of({0, 1, 2}));
    if (layout.schedule == config::Pipeline::interleaved_1f1b) layout.chunks = 2;
    std::vector<config::Recompute> choices;
    for (int rank = 0; rank < layout.mesh.pp; ++rank)
      choices.push_back(static_cast<config::Recompute>(one_of({0, 1, 2})));
    layout.recompute = Recomputation(choices);
    drawn.micro_batch = one_of({1, 2, 4});
    if (admitted(drawn) && seen.insert(drawn.text()).second) all.push_back(drawn);
  }
  return all;
}

// What ten layouts must have between them.
std::map<std::string, int> coverage(const std::vector<Drawn>& all) {
  std::map<std::string, int> counts;
  for (const Drawn& drawn : all) {
    const Layout& layout = drawn.layout;
    const auto count = [&](bool met, const std::string& what) { counts[what] += met; };
    const bool dp = layout.mesh.dp > 1, pp = layout.mesh.pp > 1, tp = layout.mesh.tp > 1;
    count(dp && pp, "dp x pp");
    count(dp && tp, "dp x tp");
    count(pp && tp, "pp x tp");
    count(layout.mesh.tp == 4, "tp > heads of K and V");
    count(drawn.promises_bits() && layout.mesh.ranks() > 1, "several ranks, bit for bit");
    for (const int stage : {0, 1, 2, 3}) count(dp && layout.zero_stage == stage, fmt::format("dp x ZeRO {}", stage));
    for (const auto& [schedule, name] : {std::pair(config::Pipeline::gpipe, "gpipe"),
                                         {config::Pipeline::one_f_one_b, "1f1b"},
                                         {config::Pipeline::interleaved_1f1b, "interleaved-1f1b"}})
      count(pp && layout.schedule == schedule, name);
    for (const config::Recompute choice : {config::none, config::selective, config::full})
      count(std::find(layout.recompute.choices().begin(), layout.recompute.choices().end(), choice) !=
                layout.recompute.choices().end(),
            "recompute " + config::Recompute_Name(choice));
    for (const int size : {1, 2, 4}) count(drawn.micro_batch == size, fmt::format("micro-batches of {}", size));
  }
  return counts;
}

// Of the first seed that has all of it.
const std::vector<Drawn>& ten_layouts() {
  static const std::vector<Drawn> layouts = [] {
    for (std::uint64_t seed = 1; seed < 1000; ++seed) {
      std::vector<Drawn> drawn = draw_layouts(seed);
      const auto counts = coverage(drawn);
      if (std::any_of(counts.begin(), counts.end(), [](const auto& count) { return count.second == 0; })) continue;
      std::cout << "seed " << seed << "\n";
      for (const Drawn& each : drawn) std::cout << "  " << each.text() << "\n";
      for (const auto& [what, times] : counts) std::cout << fmt::format("{:6}  {}\n", times, what);
      return drawn;
    }
    throw std::logic_error("no seed draws all that ten layouts must have");
  }();
  return layouts;
}

// Heads of K and V are fewer than tp 4; nothing else divides by it.
Experiment experiment_of(config::Model::Family family, config::Precision precision) {
  config::Model model = small_model(family, family == config::Model::gpt2);
  model.set_layers(kLayers);
  model.set_heads(4);
  model.set_head_dim(6);
  model.set_kv_heads(family == config::Model::llama ? 2 : 4);
  model.set_ffn_size(41);
  model.set_sequence_length(6);
  Experiment experiment = small_experiment(model, kSamples);
  make_noisy(experiment);
  experiment.train.set_precision(precision);
  experiment.train.set_exact_groups(4);
  experiment.numerics = config::exact;
  return experiment;
}

class TenLayouts {
 public:
  TenLayouts(const Experiment& experiment, double learning_rate)
      : experiment_(experiment), learning_rate_(learning_rate) {}

  // `body` on every rank of the layout.
  void with_ranks(const Drawn& drawn, const std::function<void(SmallRun&)>& body) const {
    run_as_ranks(drawn.layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
      SmallRun run(group, rank, experiment_, drawn.layout,
                   {.global_batch = kSamples, .micro_batch = drawn.micro_batch});
      body(run);
    });
  }

  // The bytes that the layout writes after kBefore steps.
  std::map<std::string, std::string> write(const Drawn& drawn, const std::filesystem::path& folder) const {
    with_ranks(drawn, [&](SmallRun& run) {
      for (int step = 1; step <= kBefore; ++step) run.run(step, learning_rate_);
      save(run, folder);
    });
    return files_of(folder / kName);
  }

  // Goes on from what `folder` has, after saving it again into `copy`, if given. The next losses, of which all ranks
  // must have the same; `before_step` sees the run before each of these steps.
  std::vector<double> go_on(const Drawn& drawn, const std::filesystem::path& folder, const std::filesystem::path& copy,
                            int steps, const std::function<void(SmallRun&, int)>& before_step = {}) const {
    std::vector<std::vector<double>> losses(static_cast<std::size_t>(drawn.layout.mesh.ranks()));
    with_ranks(drawn, [&](SmallRun& run) {
      const Resumed resumed = load_checkpoint(run.rank().context(), run.peers(), folder / kName, state_of(run));
      EXPECT_EQ(resumed.step, kBefore);
      run.step().optimizer().resume(resumed.progress);
      if (!copy.empty()) save(run, copy);
      for (int step = kBefore + 1; step <= kBefore + steps; ++step) {
        if (before_step) before_step(run, step);
        losses[static_cast<std::size_t>(run.peers().rank())].push_back(run.run(step, learning_rate_).loss);
      }
    });
    for (const std::vector<double>& each : losses) EXPECT_EQ(each, losses[0]) << "ranks report unlike losses";
    return losses[0];
  }

  // `trireme resave` by as many ranks as the layout has.
  std::map<std::string, std::string> resave_by(const Drawn& drawn, const std::filesystem::path& folder,
                                               const std::filesystem::path& out) const {
    run_as_ranks(drawn.layout.mesh.ranks(), [&](LocalGroup& group, int rank) {
      TestRank self(group, rank, {}, 1 << 12);
      resave(*self.context().device, host_kernels(), self.peers(), experiment_.model, folder / kName, out);
    });
    return files_of(out);
  }

  static constexpr const char* kName = "step-00000002";

 private:
  CheckpointState state_of(SmallRun& run) const {
    return {.step = kBefore,
            .cursor = kBefore * kSamples,
            .progress = {.applied_updates = kBefore},
            .dtype = run.step().parameters().dtype(),
            .experiment = experiment_.model.DebugString(),
            .config_json = "{}",
            .tokenizer_json = "{}",
            .specs = checkpoint_specs(run.step()),
            .params = checkpoint_params(run.step())};
  }
  void save(SmallRun& run, const std::filesystem::path& folder) const {
    CheckpointSaver saver(run.rank().context(), run.peers(), folder, {}, 1);
    saver.save(state_of(run));
    saver.wait();
    EXPECT_EQ(saver.finish().error, "");
  }

  Experiment experiment_;
  double learning_rate_;
};

// One rank's next losses from a checkpoint, and how far roundings may move each.
struct Reference {
  std::vector<double> losses;
  std::vector<double> bounds;
};

// A loss moves by the roundings of its own step, 2048 u of itself, and with the weights, whose updates had gradients
// off by 2048 u of their terms: AdamW moves an element by at most 2 learning rate / epsilon of what its gradients
// moved.
Reference reference_of(const Experiment& experiment, double learning_rate, const TenLayouts& layouts,
                       const std::filesystem::path& folder) {
  constexpr double kUnit = 0x1p-24;
  Reference reference;
  std::vector<double> moved;  // to first order, by the weights
  oracle::Tensors weights_off, most_terms;
  reference.losses = layouts.go_on({.micro_batch = kSamples}, folder, {}, kAfter, [&](SmallRun& run, int step) {
    const Batch batch = small_batch(experiment.model, {(step - 1) * kSamples, step * kSamples});
    const oracle::Tensors weights = run.weights();
    const oracle::Tensors terms = token_terms(experiment, weights, batch);
    double loss = 0;
    for (const auto& [name, values] : terms) {
      std::vector<double>& off = weights_off[name];
      std::vector<double>& most = most_terms[name];
      off.resize(values.size());
      most.resize(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) {
        loss += values[i] * off[i];
        most[i] = std::max(most[i], values[i]);
        off[i] += learning_rate * 2 / experiment.optimizer.epsilon() * kRoundings * kUnit * most[i] +
                  8 * kUnit * std::abs(weights.at(name)[i]);
      }
    }
    moved.push_back(loss);
  });
  for (std::size_t i = 0; i < moved.size(); ++i)
    reference.bounds.push_back(kRoundings * kUnit * reference.losses[i] + moved[i]);
  return reference;
}

void expect_same_files(const std::map<std::string, std::string>& some, const std::map<std::string, std::string>& all) {
  EXPECT_EQ(some.size(), all.size());
  for (const auto& [name, bytes] : all)
    EXPECT_TRUE(some.contains(name) && some.at(name) == bytes) << name << " differs";
}

// Every layout's checkpoint, by every other. `bounded`: losses with tp are compared too, within their bounds.
enum class Tensors { kBytesOnly, kBounded };
void check_all_pairs(const Experiment& experiment, double learning_rate, Tensors tensors) {
  const std::vector<Drawn>& drawn = ten_layouts();
  const TenLayouts layouts(experiment, learning_rate);
  const ScratchFolder scratch;
  const auto of_one_rank = layouts.write({.micro_batch = 2}, scratch.path() / "one");
  // Whoever loads bytes loads what any layout wrote that wrote the same: they are loaded once.
  std::map<std::map<std::string, std::string>, std::set<std::size_t>> writers;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    SCOPED_TRACE("written under " + drawn[i].text());
    const auto written = layouts.write(drawn[i], scratch.path() / std::to_string(i));
    if (drawn[i].promises_bits()) expect_same_files(written, of_one_rank);
    writers[written].insert(i);
  }
  double nearest = 0;
  for (const auto& [written, by] : writers) {
    const std::filesystem::path folder = scratch.path() / std::to_string(*by.begin());
    const Reference reference = reference_of(experiment, learning_rate, layouts, folder);
    std::set<int> resavers;  // numbers of ranks: resaving knows no more of a layout
    for (std::size_t reader = 0; reader < drawn.size(); ++reader) {
      if (by == std::set{reader}) continue;  // its own alone
      const Drawn& to = drawn[reader];
      SCOPED_TRACE("written under " + drawn[*by.begin()].text() + "; loaded under " + to.text());
      const std::filesystem::path copy = scratch.path() / "copy";
      const bool compares = to.promises_bits() || tensors == Tensors::kBounded;
      const std::vector<double> losses = layouts.go_on(to, folder, copy, compares ? kAfter : 0);
      expect_same_files(files_of(copy / TenLayouts::kName), written);
      if (resavers.insert(to.layout.mesh.ranks()).second)
        expect_same_files(layouts.resave_by(to, folder, copy / "resaved"), written);
      std::filesystem::remove_all(copy);
      if (!compares) continue;
      if (to.promises_bits()) {
        EXPECT_EQ(losses, reference.losses);
        continue;
      }
      for (std::size_t i = 0; i < losses.size(); ++i) {
        const double off = std::abs(losses[i] - reference.losses[i]);
        EXPECT_LE(off, reference.bounds[i]) << "loss " << i + 1 << ", " << losses[i];
        nearest = std::max(nearest, off / reference.bounds[i]);
      }
    }
  }
  std::cout << writers.size() << " different checkpoints of ten; the loss nearest to its bound: " << nearest
            << " of it\n";
}

TEST(TenDrawnLayouts, LoadSaveAndResaveEachOthersCheckpointsAndGoOnInBf16) {
  Experiment experiment = experiment_of(config::Model::gpt2, config::bf16);
  experiment.optimizer.set_clip_norm(0.5);
  check_all_pairs(experiment, 1e-2, Tensors::kBytesOnly);
}

// Bounds are of fp32, of an optimizer that follows gradients smoothly.
TEST(TenDrawnLayouts, LoadSaveAndResaveEachOthersCheckpointsAndGoOnInFp32) {
  Experiment experiment = experiment_of(config::Model::llama, config::fp32);
  experiment.optimizer.set_clip_norm(0);
  experiment.optimizer.set_epsilon(1);
  check_all_pairs(experiment, 0.1, Tensors::kBounded);
}

}  // namespace
}  // namespace trireme
