#include "launch/config/validate.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "launch/config/fields.h"
#include "monitoring/error.h"
#include "parallel/mesh/mesh.h"
#include "parallel/pipeline/schedules.h"

namespace trireme {
namespace {

bool is_power_of_two(std::int64_t value) { return value > 0 && (value & (value - 1)) == 0; }

// "the nearest that do are 2 and 4": of the values that `fits`, the nearest below and above `value`, within [1, last].
template <class Fits>
std::string nearest_values(std::int64_t value, std::int64_t last, Fits fits) {
  constexpr std::int64_t kFarthest = 1 << 20;
  std::int64_t below = std::min(value, last), above = value;
  while (below > 0 && value - below < kFarthest && !fits(below)) --below;
  while (above <= last && above - value < kFarthest && !fits(above)) ++above;
  const bool has_below = below > 0 && fits(below), has_above = above <= last && fits(above);
  if (has_below && has_above && below != above) {
    return "; the nearest that do are " + std::to_string(below) + " and " + std::to_string(above);
  }
  if (has_below || has_above) return "; the nearest that does is " + std::to_string(has_below ? below : above);
  return "";
}

std::string nearest_divisors(std::int64_t value, std::int64_t of) {
  return nearest_values(value, of, [&](std::int64_t candidate) { return of % candidate == 0; });
}
std::string nearest_multiples(std::int64_t value, std::int64_t of) {
  return nearest_values(value, value + of, [&](std::int64_t candidate) { return candidate % of == 0; });
}

std::string number(std::int64_t value) { return std::to_string(value); }

class Validator {
 public:
  Validator(const config::Run& run, std::optional<int> ranks, const Sources& sources, Problems& problems)
      : run_(run),
        model_(run.model()),
        train_(run.train()),
        mesh_(run.mesh()),
        ranks_(ranks),
        sources_(sources),
        problems_(problems) {}

  void check_all() {
    check_model();
    check_budget();
    check_optimizer();
    check_loss_scale();
    check_layout();
    check_strings();
  }

 private:
  // True if none of these fields is already known to be wrong: only then can they be compared.
  bool sound(std::initializer_list<const char*> paths) const {
    return std::none_of(paths.begin(), paths.end(), [&](const char* path) { return problems_.concerns(path); });
  }
  // At the first of the fields that the user wrote; a default alone is never wrong.
  void report(std::initializer_list<const char*> paths, const std::string& reason) {
    const char* blamed = *paths.begin();
    for (auto path = paths.end(); path != paths.begin();) {
      if (sources_.by_user(*--path)) blamed = *path;
    }
    problems_.add(sources_.of(blamed), blamed, reason);
  }

  void check_model() {
    const bool gpt2 = model_.family() == config::Model::gpt2;
    if (sound({"model.heads", "model.hidden_size", "model.head_dim"})) {
      const std::int64_t hidden = model_.hidden_size(), heads = model_.heads();
      if (!model_.has_head_dim()) {
        report({"model.heads", "model.hidden_size"},
               number(heads) + " heads do not divide hidden_size " + number(hidden) + nearest_divisors(heads, hidden));
      } else if (gpt2 && heads * model_.head_dim() != hidden) {
        report({"model.head_dim", "model.heads", "model.hidden_size"},
               "heads x head_dim is " + number(heads * model_.head_dim()) +
                   ", which in the gpt2 family must be hidden_size " + number(hidden));
      } else if (!gpt2 && model_.head_dim() % 2 != 0) {
        report({"model.head_dim", "model.heads", "model.hidden_size"},
               "head_dim " + number(model_.head_dim()) + " is odd, and rotary positions turn pairs" +
                   nearest_values(model_.head_dim(), model_.head_dim() + 1, [](std::int64_t d) { return d % 2 == 0; }));
      }
    }
    if (sound({"model.heads", "model.kv_heads"})) {
      const std::int64_t heads = model_.heads(), kv_heads = model_.kv_heads();
      if (gpt2 && kv_heads != heads) {
        report({"model.kv_heads", "model.heads"}, number(kv_heads) + " kv_heads for " + number(heads) +
                                                      " heads; in the gpt2 family they are equal: leave kv_heads out");
      } else if (heads % kv_heads != 0) {
        report({"model.kv_heads", "model.heads"}, number(kv_heads) + " kv_heads do not divide " + number(heads) +
                                                      " heads" + nearest_divisors(kv_heads, heads));
      }
    }
  }

  void check_budget() {
    if (!sound({"train.steps", "train.tokens"})) return;
    if (!train_.has_steps() && !train_.has_tokens()) {
      problems_.add(sources_.file(), "train.steps", "there is no budget; write train.steps or train.tokens");
    } else if (train_.has_steps() && train_.has_tokens()) {
      report({"train.tokens"}, "there are two budgets, train.steps = " + number(train_.steps()) +
                                   " and train.tokens = " + number(train_.tokens()) + "; keep one");
    } else if (train_.has_steps() && sound({"optimizer.warmup_steps"}) &&
               run_.optimizer().warmup_steps() > train_.steps()) {
      report({"optimizer.warmup_steps", "train.steps"}, number(run_.optimizer().warmup_steps()) +
                                                            " steps of warm-up in a run of " + number(train_.steps()) +
                                                            "; it may be at most that");
    }
  }

  void check_batch() {
    const std::int64_t batch = train_.global_batch(), groups = train_.exact_groups();
    const std::int64_t dp = mesh_.has_dp() ? mesh_.dp() : 1;
    if (!sound({"train.global_batch", "mesh.dp"})) return;
    const std::string over_dp = mesh_.has_dp() ? " over dp = " + number(dp) : "";
    if (batch % dp != 0) {
      report({"train.global_batch", "mesh.dp"},
             number(batch) + " samples do not divide" + over_dp + nearest_multiples(batch, dp));
    } else if (sound({"train.micro_batch"}) && batch / dp % train_.micro_batch() != 0) {
      report({"train.micro_batch", "train.global_batch", "mesh.dp"},
             "micro-batches of " + number(train_.micro_batch()) + " do not divide the " + number(batch / dp) +
                 " samples of a rank (global_batch " + number(batch) + over_dp + ")" +
                 nearest_divisors(train_.micro_batch(), batch / dp));
    }
    if (run_.numerics() != config::exact || !sound({"train.exact_groups"})) return;
    if (is_power_of_two(groups) && batch % groups == 0 && groups % dp == 0) return;
    const std::string nearest = nearest_values(groups, batch, [&](std::int64_t candidate) {
      return is_power_of_two(candidate) && batch % candidate == 0 && candidate % dp == 0;
    });
    report({"train.exact_groups", "train.global_batch", "mesh.dp"},
           "numerics: exact needs a power of two that divides global_batch " + number(batch) +
               (dp > 1 ? " and is a multiple of dp = " + number(dp) : "") + ", not " + number(groups) +
               (nearest.empty() ? "; there is none: choose another global_batch or dp" : nearest));
  }

  void check_optimizer() {
    const config::Optimizer& optimizer = run_.optimizer();
    if (sound({"optimizer.learning_rate", "optimizer.min_learning_rate"}) &&
        optimizer.min_learning_rate() > optimizer.learning_rate()) {
      report({"optimizer.min_learning_rate", "optimizer.learning_rate"},
             value_text(run_, *find_field("optimizer.min_learning_rate")) + " is more than learning_rate " +
                 value_text(run_, *find_field("optimizer.learning_rate")));
    }
  }

  // Of powers of two, a scale changes no bit of a gradient that neither overflows nor underflows.
  void check_loss_scale() {
    for (const char* path :
         {"loss_scale.initial", "loss_scale.growth_factor", "loss_scale.backoff_factor", "loss_scale.min"}) {
      if (!sound({path})) continue;
      const std::string text = value_text(run_, *find_field(path));
      int exponent = 0;
      if (std::frexp(std::stod(text), &exponent) == 0.5) continue;
      report({path}, fmt::format("{} is no power of two, and would round every gradient; the nearest are {} and {}",
                                 text, std::ldexp(1.0, exponent - 1), std::ldexp(1.0, exponent)));
    }
    if (sound({"loss_scale.initial", "loss_scale.min"}) && run_.loss_scale().min() > run_.loss_scale().initial())
      report({"loss_scale.min", "loss_scale.initial"}, value_text(run_, *find_field("loss_scale.min")) +
                                                           " is more than initial " +
                                                           value_text(run_, *find_field("loss_scale.initial")));
  }

  // What any mesh must satisfy.
  void check_parts() {
    check_batch();
    check_mesh();
    check_pipeline();
    check_recomputation();
  }

  // The same, and where the mesh does not satisfy it the nearest ones that would.
  void check_layout() {
    const Problems before = problems_;
    check_parts();
    if (problems_.size() == before.size() || (!ranks_ && !mesh_.has_dp())) return;
    const MeshShape wanted{mesh_.has_dp() ? mesh_.dp() : 1, mesh_.pp(), mesh_.cp(), mesh_.tp(), 1};
    constexpr double kMostRanks = 1 << 20;
    const double product = static_cast<double>(wanted.dp) * wanted.pp * wanted.cp * wanted.tp;
    if (!sound({"mesh"}) || product < 1 || product > kMostRanks) return;
    const int ranks = ranks_.value_or(wanted.ranks());
    const std::vector<MeshShape> nearest = nearest_meshes(wanted, mesh_.has_dp(), ranks, [&](const MeshShape& mesh) {
      config::Run other = run_;
      other.mutable_mesh()->set_dp(mesh.dp);
      other.mutable_mesh()->set_pp(mesh.pp);
      other.mutable_mesh()->set_cp(mesh.cp);
      other.mutable_mesh()->set_tp(mesh.tp);
      Problems found = before;
      Validator validator(other, ranks, sources_, found);
      validator.check_parts();
      return found.size() == before.size();
    });
    std::string text;
    for (const MeshShape& mesh : nearest) text += (text.empty() ? "" : "; ") + to_string(mesh);
    if (!text.empty())
      problems_.add(sources_.of("mesh"), "", "of the meshes of " + number(ranks) + " ranks these would work: " + text);
  }

  void check_mesh() {
    if (sound({"mesh.order"}) && !parse_axis_order(mesh_.order()))
      report({"mesh.order"}, quote_text(mesh_.order()) +
                                 " is no order of the axes: write tp, cp, dp and pp once each, the "
                                 "one along which ranks are counted fastest first, as in " +
                                 to_string(kDefaultOrder));
    if (!sound({"mesh.dp", "mesh.pp", "mesh.cp", "mesh.tp", "mesh.ep"})) return;
    const std::int64_t pp = mesh_.pp(), cp = mesh_.cp(), tp = mesh_.tp();
    const std::int64_t others = pp * cp * tp, dp = mesh_.has_dp() ? mesh_.dp() : 1;
    if (ranks_ && !mesh_.has_dp()) {
      report({"mesh.tp", "mesh.pp", "mesh.cp"}, "pp x cp x tp = " + number(others) + " does not divide the " +
                                                    number(*ranks_) + " ranks of this run; start a multiple of " +
                                                    number(others));
    } else if (ranks_ && dp * others != *ranks_) {
      report({"mesh.dp", "mesh.pp", "mesh.tp", "mesh.cp"},
             "dp x pp x cp x tp = " + number(dp * others) + ", but this run has " + number(*ranks_) +
                 (*ranks_ == 1 ? " rank" : " ranks") + "; start " + number(dp * others) + " or leave dp out");
    }
    if (mesh_.ep() > 1)
      report({"mesh.ep"}, "ep = " + number(mesh_.ep()) + " needs experts, and this model has none; leave it out");
    check_stages();
    check_tensor_cuts(tp);
    if (cp > 1 && sound({"model.sequence_length"}) && model_.sequence_length() % (2 * cp) != 0) {
      report({"mesh.cp", "model.sequence_length"},
             "2 x cp = " + number(2 * cp) + " must divide sequence_length " + number(model_.sequence_length()) +
                 " (each rank holds an early and a late piece of every sequence)");
    }
  }

  void check_stages() {
    if (!sound({"pipeline.chunks", "model.layers"})) return;
    const PipelineShape shape{mesh_.pp(), run_.pipeline().chunks()};
    if (shape.stages() <= model_.layers()) return;
    report({"mesh.pp", "pipeline.chunks", "model.layers"}, number(shape.stages()) + " stages (pp x chunks) of " +
                                                               number(model_.layers()) +
                                                               " layers: a stage has one at least");
  }

  void check_tensor_cuts(std::int64_t tp) {
    if (tp == 1) return;
    if (sound({"model.heads"}) && model_.heads() % tp != 0) {
      report({"mesh.tp", "model.heads"}, "tp = " + number(tp) + " does not divide heads " + number(model_.heads()) +
                                             nearest_divisors(tp, model_.heads()));
    }
    // These may be cut unevenly, but every rank needs a part.
    auto suffices = [&](const char* path, std::int64_t value, const std::string& name) {
      if (!problems_.concerns(path) && value < tp) {
        report({"mesh.tp", path}, "tp = " + number(tp) + " is more than " + name + " " + number(value) +
                                      ", and every rank needs a part of it; the largest that works is " +
                                      number(value));
      }
    };
    suffices("model.ffn_size", model_.ffn_size(), "ffn_size");
    if (model_.has_vocab_size()) suffices("model.vocab_size", model_.vocab_size(), "vocab_size");
    if (sound({"model.kv_heads"}) && model_.kv_heads() % tp != 0 && tp % model_.kv_heads() != 0) {
      report({"mesh.tp", "model.kv_heads"}, "tp = " + number(tp) + " neither divides kv_heads " +
                                                number(model_.kv_heads()) + " nor is a multiple of it");
    }
  }

  void check_pipeline() {
    if (!sound(
            {"pipeline.chunks", "pipeline.schedule", "mesh.pp", "mesh.dp", "train.global_batch", "train.micro_batch"}))
      return;
    const PipelineShape shape{mesh_.pp(), run_.pipeline().chunks()};
    const std::int64_t dp = mesh_.has_dp() ? mesh_.dp() : 1;
    try {
      check_admitted(run_.pipeline().schedule(), shape,
                     static_cast<int>(train_.global_batch() / dp / train_.micro_batch()));
    } catch (const UserError& error) {
      report({"pipeline.schedule", "pipeline.chunks", "mesh.pp", "train.global_batch"}, error.what());
    }
  }

  void check_recomputation() {
    if (!sound({"recompute", "mesh.pp"})) return;
    const int choices = run_.recompute_size(), ranks = mesh_.pp();
    if (choices == 1 || choices == ranks) return;
    report({"recompute"}, number(choices) + " choices for the " + number(ranks) + (ranks == 1 ? " stage" : " stages") +
                              " of mesh.pp = " + number(ranks) + "; write one for all of them, or one for each");
  }

  void check_strings() {
    if (run_.run().dir().empty()) report({"run.dir"}, "a folder is expected");
    if (run_.data().has_path() && run_.data().path().empty()) report({"data.path"}, "a folder is expected");
    if (run_.monitoring().address().empty())
      report({"monitoring.address"}, "an address is expected, for example 127.0.0.1");
  }

  const config::Run& run_;
  const config::Model& model_;
  const config::Train& train_;
  const config::Mesh& mesh_;
  const std::optional<int> ranks_;
  const Sources& sources_;
  Problems& problems_;
};

}  // namespace

void validate(const config::Run& run, std::optional<int> ranks, const Sources& sources, Problems& problems) {
  Validator(run, ranks, sources, problems).check_all();
}

namespace {

struct Refusals {
  const Sources& sources;
  Problems& problems;
  void operator()(bool when, const char* path, const std::string& reason) const {
    if (when && !problems.concerns(path)) problems.add(sources.of(path), path, reason);
  }
};

}  // namespace

void check_implemented(const config::Run& run, const Sources& sources, Problems& problems) {
  const Refusals refuse{sources, problems};
  const std::string later = " is not implemented yet: `trireme config` checks such layouts";
  refuse(run.mesh().cp() > 1, "mesh.cp", "context parallelism" + later + "; set it to 1");
  refuse(run.data().has_path() && !run.model().has_vocab_size(), "model.vocab_size",
         "not known, because the data set " + run.data().path() + " cannot be read; run `trireme prepare` first");
  refuse(!run.data().has_path() && !run.model().has_vocab_size(), "model.vocab_size",
         "not known; write it, or data.path");
}

void check_trainable(const config::Run& run, const Sources& sources, Problems& problems) {
  check_implemented(run, sources, problems);
  const Refusals refuse{sources, problems};
  refuse(!run.data().has_path(), "data.path", "no data set; name a folder that `trireme prepare` wrote");
}

}  // namespace trireme
