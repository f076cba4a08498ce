#include "launch/bench/bench_layout.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "monitoring/error.h"
#include "parallel/pipeline/simulate.h"
#include "trainer/step/rank_batches.h"

namespace trireme {
namespace {

constexpr int kMicroBatchesAStage = 4;
constexpr int kMostRanks = 1024;

[[noreturn]] void refuse(const std::string& text, const std::string& why) {
  throw UserError(fmt::format("--layout {}: {}", text, why));
}

int number_in(const std::string& text, const std::string& value, int least, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < least || number > most)
    refuse(text, fmt::format("\"{}\" is no whole number from {} to {}", value, least, most));
  return number;
}

}  // namespace

BatchPlan BenchLayout::batch_plan(const Workload& workload, int rank) const {
  return rank_batches(layout.mesh, rank, {.global_batch = workload.batch, .micro_batch = micro_batch});
}

double BenchLayout::simulated_bubble(const Workload& workload) const {
  if (layout.mesh.pp == 1) return 0;
  const PipelineShape shape{layout.mesh.pp, layout.chunks};
  const auto micro_batches = static_cast<int>(batch_plan(workload, 0).micro_batches());
  return simulate(shape, pipeline_schedules(layout.schedule, shape, micro_batches), {}).bubble;
}

BenchLayout bench_layout(const std::string& text, const Workload& workload) {
  BenchLayout made{.text = text, .layout = {}};
  MeshShape& mesh = made.layout.mesh;
  struct Word {
    int* number;
    int least, most;
  };
  const std::map<std::string, Word> words = {{"dp", {&mesh.dp, 1, kMostRanks}},
                                             {"pp", {&mesh.pp, 1, kMostRanks}},
                                             {"tp", {&mesh.tp, 1, kMostRanks}},
                                             {"zero", {&made.layout.zero_stage, 0, 3}},
                                             {"micro-batch", {&made.micro_batch, 1, workload.batch}}};
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t equals = part.find('=');
    const auto word = words.find(part.substr(0, equals));
    if (word == words.end() || equals == std::string::npos)
      refuse(text, "\"" + part + "\" is none of dp=N, pp=N, tp=N, zero=0..3 and micro-batch=N");
    *word->second.number = number_in(text, part.substr(equals + 1), word->second.least, word->second.most);
  }
  if (text.empty() || made.ranks() < 2 || made.ranks() > kMostRanks)
    refuse(text, fmt::format("name axes of 2 to {} ranks together, as in dp=2 or dp=2,pp=2", kMostRanks));
  if (mesh.dp > workload.batch) refuse(text, fmt::format("{} has a batch of {}", workload.name, workload.batch));
  if (mesh.pp > workload.layers) refuse(text, fmt::format("{} has {} layers", workload.name, workload.layers));
  if (workload.heads() % mesh.tp != 0)
    refuse(text, fmt::format("tp must divide the {} heads of {}", workload.heads(), workload.name));
  if (made.layout.zero_stage > 0 && mesh.dp == 1) refuse(text, "zero cuts what dp ranks hold, and dp is 1");
  if (made.micro_batch == 0) {
    const int samples = (workload.batch + mesh.dp - 1) / mesh.dp;
    made.micro_batch = mesh.pp == 1 ? samples : std::max(1, samples / (kMicroBatchesAStage * mesh.pp));
  }
  return made;
}

}  // namespace trireme
