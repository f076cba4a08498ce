#include "tests/trainer/layout/preconditions.h"

#include <map>

namespace trireme {
namespace {

using Case = const DrawnLayout&;

bool dp(Case of) { return of.layout.mesh.dp > 1; }
bool pp(Case of) { return of.layout.mesh.pp > 1; }
bool tp(Case of) { return of.layout.mesh.tp > 1; }
bool any_axis(Case of) { return dp(of) || pp(of) || tp(of); }
bool has_few_kv_heads(Case of) { return of.experiment.model.kv_heads() < of.layout.mesh.tp; }
// In fast numerics a case keeps its weights.
bool is_updated(Case of) { return of.experiment.numerics == config::exact; }

const std::map<std::string, bool (*)(Case)>& preconditions() {
  static const std::map<std::string, bool (*)(Case)> all = {
      {"loss-averaged-per-rank", dp},
      {"sharded-norm-counted-once", tp},
      {"replicas-counted-by-all", [](Case of) { return tp(of) && of.layout.zero_stage < 2; }},
      {"sequence-parallel-gradients-not-summed", tp},
      {"kv-replicas-not-summed", [](Case of) { return tp(of) && has_few_kv_heads(of); }},
      {"tied-embedding-not-summed", [](Case of) { return pp(of) && of.experiment.model.tied_embeddings(); }},
      {"label-smoothing-over-a-slice", [](Case of) { return tp(of) && of.experiment.train.label_smoothing() > 0; }},
      {"exponentials-of-a-slice", tp},
      {"z-loss-of-every-slice", [](Case of) { return tp(of) && of.experiment.train.z_loss() > 0; }},
      {"one-attention-dropout-for-all-of-tp",
       [](Case of) { return tp(of) && of.experiment.model.attention_dropout() > 0; }},
      {"one-row-dropout-for-all-of-tp", [](Case of) { return tp(of) && of.experiment.model.dropout() > 0; }},
      {"dropout-keyed-by-rank", [](Case of) { return any_axis(of) && of.experiment.model.dropout() > 0; }},
      // Where the two swapped are the last, GradientBuckets ends the process: gradients come after they were reduced.
      {"micro-batches-swapped",
       [](Case of) {
         return pp(of) && of.micro_batches() > 2 && of.experiment.train.global_batch() % of.layout.mesh.dp == 0;
       }},
      {"last-reduction-dropped", dp},
      // Of one micro-batch alone nothing would be left to reduce in time.
      {"bucket-reduced-early", [](Case of) { return dp(of) && of.micro_batches() > 1; }},
      {"padding-in-the-norm", dp},
      {"decay-twice-on-a-replica",
       [](Case of) { return any_axis(of) && is_updated(of) && of.experiment.optimizer.weight_decay() > 0; }},
      {"masters-from-rounded-weights",
       [](Case of) { return any_axis(of) && is_updated(of) && of.experiment.train.precision() == config::bf16; }},
      {"validation-of-own-windows", dp},
      {"rate-counted-per-micro-batch", [](Case of) { return is_updated(of) && of.micro_batches() > 1; }},
  };
  return all;
}

}  // namespace

bool can_matter(const std::string& plant, const DrawnLayout& drawn) {
  const auto found = preconditions().find(plant);
  CHECK(found != preconditions().end(), "say in preconditions.cc what ", plant, " needs of a case");
  return found->second(drawn);
}

}  // namespace trireme
