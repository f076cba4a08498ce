#include "launch/bench/own_steps.h"

#include <chrono>
#include <utility>

#include "monitoring/error.h"
#include "trainer/loop/gemm_peak.h"
#include "trainer/model/transformer.h"
#include "trainer/step/memory_plan.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLearningRate = 3e-4;
constexpr int kWarmUpSteps = 2;

std::unique_ptr<MpiWorld> world_of_one() {
  if (launched_by_mpi())
    throw UserError("start trireme bench without mpirun or srun; `trireme bench scaling` starts its ranks itself");
  return std::make_unique<MpiWorld>();
}

BenchLayout layout_of_one(const Workload& workload) {
  return {.text = "one rank", .layout = {}, .micro_batch = workload.batch};
}

}  // namespace

int all_threads() { return default_threads(*world_of_one()); }

std::string description_of_device(int threads) {
  const std::unique_ptr<MpiWorld> world = world_of_one();
  return Rank(*world, config::auto_, threads).description();
}

OwnSteps::OwnSteps(const Workload& workload, config::Precision precision, int threads)
    : OwnSteps(world_of_one(), nullptr, workload, precision, threads, layout_of_one(workload)) {}

OwnSteps::OwnSteps(MpiWorld& world, const Workload& workload, config::Precision precision, int threads,
                   const BenchLayout& layout)
    : OwnSteps(nullptr, &world, workload, precision, threads, layout) {}

OwnSteps::OwnSteps(std::unique_ptr<MpiWorld> alone, MpiWorld* world, const Workload& workload,
                   config::Precision precision, int threads, const BenchLayout& layout)
    : workload_(workload),
      experiment_(experiment_of(workload, precision)),
      alone_(std::move(alone)),
      batches_(layout.batch_plan(workload, alone_ ? 0 : world->rank())),
      rank_(alone_ ? *alone_ : *world, config::auto_, threads),
      trace_(rank_.peers().rank()) {
  rank_.take_memory(plan_step(experiment_, layout.layout, batches_, rank_.peers().rank()).arena_bytes);
  training_.emplace(rank_.context(), experiment_, layout.layout, rank_.connect(layout.layout.mesh), rank_.streams(),
                    &trace_);
  training_->initialize();
  seconds_of(kWarmUpSteps);
}

std::vector<double> OwnSteps::seconds_of(int steps) {
  std::vector<double> seconds;
  const auto since = Clock::now();
  for (int i = 0; i < steps; ++i) {
    ++step_;
    const auto begin = Clock::now();
    const std::vector<Batch> batches = random_micro_batches(workload_, static_cast<std::uint64_t>(step_), batches_);
    training_->run(step_, batches, kLearningRate);
    loss_ = training_->report().loss;
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  rank_.context().device->synchronize(rank_.streams().communication);  // what is under way counts
  const auto since_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(since.time_since_epoch()).count();
  exposure_ = exposure_of(trace_.events(), since_ns);
  exposure_.communication_seconds /= steps;
  exposure_.exposed_seconds /= steps;
  return seconds;
}

double OwnSteps::flops_per_token() const { return trireme::flops_per_token(experiment_.model); }

double OwnSteps::gemm_peak() { return measure_gemm_peak(rank_.context(), dtype_of(experiment_.train.precision())); }

}  // namespace trireme
