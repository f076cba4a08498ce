#include <cstdint>
#include <string>

#include <fmt/format.h>

#include "launch/config/fields.h"
#include "launch/config/hugging_face.h"
#include "launch/config/load.h"
#include "launch/config/model_size.h"
#include "launch/config/problems.h"
#include "monitoring/run_report.h"
#include "trainer/model/transformer.h"

namespace trireme {
namespace {

// Why a field may still be open in a resolved run.
const char* when_known(std::string_view path) {
  if (path == "run.threads") return "this host's cores / its ranks, decided at the start";
  if (path == "data.path") return "needed to train: a folder that `trireme prepare` wrote";
  if (path == "model.from") return "none: the model starts from random weights";
  if (path == "model.vocab_size") return "the data set's, rounded up to a multiple of 64";
  if (path == "mesh.dp") return "ranks / (pp x cp x tp), decided at the start";
  if (path == "train.steps") return "follows from train.tokens";
  if (path == "train.tokens") return "follows from train.steps";
  return "not set";
}

std::string gibibytes(double bytes) { return fmt::format("{:9.3f} GiB", bytes / (1024.0 * 1024.0 * 1024.0)); }

std::string describe_weights(const std::string& dir) {
  Problems already_reported;
  switch (read_hugging_face_directory(dir, already_reported).weights) {
    case WeightFiles::kSafetensors:
      return "# " + dir + " holds weights (safetensors): training continues from them\n";
    case WeightFiles::kOtherFormats:
      return "# " + dir +
             " holds weights, but not as safetensors, which alone is read: training would start from random ones\n";
    case WeightFiles::kNone:
      break;
  }
  return "# " + dir + " holds no weights, only the model's shape: training starts from random ones\n";
}

}  // namespace

std::string print_run(const config::Run& run) {
  std::string yaml;
  const google::protobuf::FieldDescriptor* section = nullptr;
  for (const Field& field : all_fields()) {
    if (field.section != section && field.section) yaml += field.section->name() + ":\n";
    section = field.section;
    yaml += section ? "  " : "";
    if (has_value(run, field)) {
      yaml += field.descriptor->name() + ": " + value_text(run, field) + "\n";
    } else {
      yaml += "# " + field.descriptor->name() + ": " + when_known(field.path) + "\n";
    }
  }
  return yaml;
}

std::string describe_cost(const config::Run& run) {
  std::string text;
  if (run.model().has_from()) text += describe_weights(run.model().from());
  if (!run.model().has_vocab_size()) {
    return text + "# parameters, memory and FLOPs: known when model.vocab_size is (run `trireme prepare`, or set it)\n";
  }
  const ParameterCount count = count_parameters(run.model());
  text += fmt::format("# parameters: {}\n", exact_count(count.total));
  text += fmt::format("#   embedding {}, {} layers of {}, final norm {}, head {}\n", exact_count(count.embedding),
                      run.model().layers(), exact_count(count.per_layer), exact_count(count.final_norm),
                      count.head ? exact_count(count.head) : "tied to the embedding");
  text += fmt::format("# FLOPs per token, forward and backward: {:.4g}\n", flops_per_token(run.model()));
  text +=
      "#   6 for each weight of a matrix product + 6 x layers x heads x head_dim x sequence_length for causal "
      "attention\n";

  const config::Mesh& mesh = run.mesh();
  const int dp = mesh.has_dp() ? mesh.dp() : 1;
  const MemoryPerRank memory = memory_per_rank(run, dp);
  text +=
      fmt::format("# memory of the fullest rank (dp {} x pp {} x cp {} x tp {} = {} ranks{}, ZeRO {}):\n", dp,
                  mesh.pp(), mesh.cp(), mesh.tp(), exact_count(std::int64_t{dp} * mesh.pp() * mesh.cp() * mesh.tp()),
                  mesh.has_dp() ? "" : "; dp is open, 1 assumed", run.zero().stage());
  text += "#   parameters  " + gibibytes(memory.parameters) + "\n";
  text += "#   gradients   " + gibibytes(memory.gradients) + "  fp32\n";
  text +=
      "#   optimizer   " + gibibytes(memory.optimizer) +
      (run.train().precision() == config::fp32 ? "  two moments, fp32\n" : "  two moments and master weights, fp32\n");
  text += "#   activations " + gibibytes(memory.activations) +
          "  an estimate: inputs of products, norms and activation functions, for all micro-batches in flight\n";
  text += "#   logits      " + gibibytes(memory.logits) + "  loss_chunk_rows at a time\n";
  text += "#   total       " + gibibytes(memory.total()) + "\n";
  return text;
}

}  // namespace trireme
