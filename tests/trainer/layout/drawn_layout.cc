#include "tests/trainer/layout/drawn_layout.h"

#include <algorithm>
#include <ostream>
#include <utility>

#include <fmt/format.h>

#include "dataloader/batch/plan.h"
#include "tests/trainer/layout/preconditions.h"
#include "tests/trainer/verify/plants.h"
#include "trainer/step/rank_batches.h"

namespace trireme {
namespace {

constexpr const char* kSchedules[] = {"gpipe", "1f1b", "interleaved-1f1b"};

// The whole range from the first case on.
int between(int least, int most) { return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(least, most + 1)); }
bool coin() { return *rc::gen::arbitrary<bool>(); }

// Meshes of at most so many ranks; those with several axes come often.
MeshShape draw_mesh(int most_ranks) {
  std::vector<MeshShape> meshes;
  for (int dp = 1; dp <= 4; ++dp)
    for (int pp = 1; pp <= 4; ++pp)
      for (int tp = 1; tp <= 4; ++tp)
        if (dp * pp * tp <= most_ranks) {
          const int axes = (dp > 1) + (pp > 1) + (tp > 1);
          for (int weight = 0; weight < 1 + axes * axes; ++weight)
            meshes.push_back({.dp = dp, .pp = pp, .cp = 1, .tp = tp, .ep = 1});
        }
  return *rc::gen::elementOf(meshes);
}

// Any order of the axes half of the time: groups' ranks are then not neighbours where they usually are.
AxisOrder draw_order() {
  if (coin()) return kDefaultOrder;
  AxisOrder order = kDefaultOrder;
  std::sort(order.begin(), order.end());
  for (int turns = between(0, 23); turns > 0; --turns) std::next_permutation(order.begin(), order.end());
  return order;
}

Recomputation draw_recomputation(int stages) {
  std::vector<config::Recompute> choices = {static_cast<config::Recompute>(between(0, 2))};
  if (stages > 1 && coin())
    while (static_cast<int>(choices.size()) < stages) choices.push_back(static_cast<config::Recompute>(between(0, 2)));
  return Recomputation(std::move(choices));
}

void draw_model(config::Model& model, const Layout& layout) {
  const int tp = layout.mesh.tp;
  const bool gpt2 = coin();
  model.set_family(gpt2 ? config::Model::gpt2 : config::Model::llama);
  const int stages = layout.mesh.pp * layout.chunks;
  model.set_layers(between(stages, stages + 1));
  int kv_heads = tp;
  int heads = tp;
  if (!gpt2) {
    const int divisor = coin() && tp > 1 ? (tp == 4 && coin() ? 2 : tp) : 1;  // fewer heads of K and V than ranks
    kv_heads = tp / divisor;
    heads = tp * between(1, 2);
  } else if (tp < 3) {
    kv_heads = heads = tp * between(1, 2);
  }
  model.set_heads(heads);
  model.set_kv_heads(kv_heads);
  model.set_head_dim(4);
  model.set_hidden_size(between(3, 6) * 2 + 1);
  model.set_ffn_size(between(9, 17));
  model.set_vocab_size(between(11, 19));
  model.set_sequence_length(between(3, 6));
  model.set_tied_embeddings(gpt2 || coin());
  model.set_norm_epsilon(1e-5);
  model.set_rope_theta(100);
  model.set_init_std(0.3);
  model.set_dropout(coin() ? 0.2 : 0);
  model.set_attention_dropout(coin() ? 0.3 : 0);
}

}  // namespace

std::int64_t DrawnLayout::micro_batches() const {
  return rank_batches(layout.mesh, 0, {.global_batch = experiment.train.global_batch(), .micro_batch = micro_batch})
      .micro_batches();
}

rc::Gen<DrawnLayout> draw_layout(int most_ranks) {
  return rc::gen::exec([most_ranks] {
    DrawnLayout drawn;
    Layout& layout = drawn.layout;
    layout.mesh = draw_mesh(most_ranks);
    layout.zero_stage = between(0, 3);
    layout.recompute = draw_recomputation(layout.mesh.pp);
    layout.schedule = static_cast<config::Pipeline::Schedule>(between(0, 2));
    if (layout.mesh.pp == 1) layout.schedule = config::Pipeline::one_f_one_b;
    const bool interleaved = layout.schedule == config::Pipeline::interleaved_1f1b;
    layout.chunks = interleaved ? between(1, 2) : 1;

    Experiment& experiment = drawn.experiment;
    draw_model(experiment.model, layout);
    const bool power_of_two = layout.mesh.dp != 3;
    experiment.numerics = layout.mesh.tp == 1 && power_of_two && coin() ? config::exact : config::fast;
    drawn.micro_batch = between(1, 2);
    const int micro_batches = interleaved ? layout.mesh.pp * between(1, 2) : between(1, 3);
    int samples = layout.mesh.dp * static_cast<int>(drawn.micro_batch) * micro_batches;
    // Ranks with unlike numbers of samples.
    if (experiment.numerics == config::fast && !interleaved) samples += between(0, layout.mesh.dp - 1);
    experiment.train.set_global_batch(samples);
    experiment.train.set_exact_groups(layout.mesh.dp);
    experiment.train.set_loss_chunk_rows(between(3, 7));
    if (coin()) experiment.train.set_label_smoothing(0.1);
    if (coin()) experiment.train.set_z_loss(1e-2);
    if (experiment.numerics == config::exact && coin()) experiment.train.set_precision(config::bf16);
    experiment.optimizer.set_learning_rate(1e-2);
    experiment.optimizer.set_min_learning_rate(1e-3);
    experiment.optimizer.set_epsilon(1e-4);
    experiment.seed = static_cast<std::uint64_t>(between(0, 1000));
    layout.mesh.order = draw_order();
    return drawn;
  });
}

DrawnLayout drawn_layout(std::uint64_t seed, int most_ranks) {
  return draw_layout(most_ranks)(rc::Random(seed), rc::kNominalSize).value();
}

std::ostream& operator<<(std::ostream& out, const DrawnLayout& drawn) {
  const config::Model& model = drawn.experiment.model;
  const Layout& layout = drawn.layout;
  return out << fmt::format(
             "dp={} pp={} tp={} ({}) zero={} {} chunks={} recompute={} micro_batch={} of {} samples; {} layers={} "
             "heads={} "
             "kv_heads={} hidden={} ffn={} vocabulary={} T={} {} dropout={} attention_dropout={} smoothing={} z={} "
             "chunk_rows={} {} {} seed={}",
             layout.mesh.dp, layout.mesh.pp, layout.mesh.tp, to_string(layout.mesh.order), layout.zero_stage,
             kSchedules[static_cast<int>(layout.schedule)], layout.chunks, to_string(layout.recompute),
             drawn.micro_batch, drawn.experiment.train.global_batch(), config::Model::Family_Name(model.family()),
             model.layers(), model.heads(), model.kv_heads(), model.hidden_size(), model.ffn_size(), model.vocab_size(),
             model.sequence_length(), model.tied_embeddings() ? "tied" : "untied", model.dropout(),
             model.attention_dropout(), drawn.experiment.train.label_smoothing(), drawn.experiment.train.z_loss(),
             drawn.experiment.train.loss_chunk_rows(), config::Numerics_Name(drawn.experiment.numerics),
             config::Precision_Name(drawn.experiment.train.precision()), drawn.experiment.seed);
}

void Coverage::add(const DrawnLayout& drawn) {
  ++cases_;
  const Layout& layout = drawn.layout;
  const config::Model& model = drawn.experiment.model;
  const auto count = [&](bool met, const std::string& what) { counts_[what] += met; };
  const bool dp = layout.mesh.dp > 1, pp = layout.mesh.pp > 1, tp = layout.mesh.tp > 1;
  const bool accumulated = drawn.micro_batches() > 1;
  const std::pair<const char*, bool> axes[] = {
      {"dp", dp},
      {"pp", pp},
      {"tp", tp},
      {"zero", layout.zero_stage > 0},
      {"accumulation", accumulated},
      {"recompute", layout.recompute.any()},
  };
  for (std::size_t a = 0; a < std::size(axes); ++a)
    for (std::size_t b = a + 1; b < std::size(axes); ++b)
      count(axes[a].second && axes[b].second, fmt::format("{} x {}", axes[a].first, axes[b].first));
  for (int stage = 0; stage <= 3; ++stage)
    for (int schedule = 0; schedule < 3; ++schedule)
      count(dp && pp && layout.zero_stage == stage && static_cast<int>(layout.schedule) == schedule,
            fmt::format("zero {} x {}", stage, kSchedules[schedule]));
  for (const config::Recompute recompute : {config::selective, config::full})
    count(layout.recompute == recompute, "recompute " + config::Recompute_Name(recompute));
  count(layout.recompute.choices().size() > 1, "stages that recompute unlike parts");
  count(tp && dp && peers(layout.mesh, Axis::kTp, 0)[1] != 1, "ranks of tp that are no neighbours");
  count(pp && dp && peers(layout.mesh, Axis::kPp, 0)[1] == 1, "ranks of pp that are");
  count(dp && drawn.experiment.numerics == config::exact, "exact x dp");
  count(pp && drawn.experiment.numerics == config::exact, "exact x pp");
  count((dp || pp) && drawn.experiment.train.precision() == config::bf16, "exact in bf16");
  count(dp && accumulated, "unlike masks over dp and micro-batches");
  count(dp && drawn.experiment.train.global_batch() % layout.mesh.dp != 0, "unlike numbers of samples over dp");
  count(tp && model.kv_heads() < layout.mesh.tp, "kv heads < tp");
  count(pp && model.tied_embeddings(), "tied embeddings x pp");
  count(dp && layout.zero_stage > 0 && model.tied_embeddings() && pp, "tied embeddings x pp x zero");
  count(tp && drawn.experiment.train.label_smoothing() > 0, "label smoothing x tp");
  count(tp && drawn.experiment.train.z_loss() > 0, "z-loss x tp");
  count(tp && model.dropout() > 0, "dropout x tp");
  count(tp && model.attention_dropout() > 0, "attention dropout x tp");
  count(tp && model.vocab_size() % layout.mesh.tp != 0, "vocabulary does not divide by tp");
  count(tp && model.ffn_size() % layout.mesh.tp != 0, "ffn does not divide by tp");
  count(tp && drawn.micro_batch * model.sequence_length() % layout.mesh.tp != 0, "rows do not divide by tp");
  count(pp && model.layers() % (layout.mesh.pp * layout.chunks) != 0, "stages of unlike sizes");
  count(pp && drawn.micro_batches() < layout.mesh.pp, "fewer micro-batches than stages");
  count(pp && layout.chunks > 1, "several stages a rank");
  for (const Plant& plant : all_plants()) count(can_matter(plant.name, drawn), "mistake: " + plant.name);
}

std::vector<std::string> Coverage::missing() const {
  std::vector<std::string> missing;
  for (const auto& [what, times] : counts_)
    if (times == 0) missing.push_back(what);
  return missing;
}

std::string Coverage::table() const {
  std::string text = fmt::format("{} cases\n", cases_);
  for (const auto& [what, times] : counts_) text += fmt::format("{:6}  {}\n", times, what);
  return text;
}

}  // namespace trireme
