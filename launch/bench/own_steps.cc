#include "launch/bench/own_steps.h"

#include <chrono>

#include "monitoring/error.h"
#include "trainer/loop/gemm_peak.h"
#include "trainer/model/transformer.h"
#include "trainer/step/memory_plan.h"

namespace trireme {
namespace {

constexpr double kLearningRate = 3e-4;
constexpr int kWarmUpSteps = 2;

void require_no_launcher() {
  if (launched_by_mpi()) throw UserError("trireme bench measures one rank: start it without mpirun or srun");
}

}  // namespace

int all_threads() {
  require_no_launcher();
  return default_threads(MpiWorld());
}

OwnSteps::OwnSteps(const Workload& workload, config::Precision precision, int threads)
    : workload_(workload),
      experiment_(experiment_of(workload, precision)),
      world_((require_no_launcher(), MpiOptions())),
      rank_(world_, config::auto_, threads) {
  rank_.take_memory(plan_step(experiment_, {}, batch_plan_of(workload), 0).arena_bytes);
  training_.emplace(rank_.context(), experiment_, Layout{}, rank_.connect({}), rank_.streams(), nullptr);
  training_->initialize();
  seconds_of(kWarmUpSteps);
}

std::vector<double> OwnSteps::seconds_of(int steps) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  for (int i = 0; i < steps; ++i) {
    ++step_;
    const auto begin = Clock::now();
    const Batch batch = random_batch(workload_, static_cast<std::uint64_t>(step_));
    training_->run(step_, {&batch, 1}, kLearningRate);
    loss_ = training_->report().loss;
    seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return seconds;
}

double OwnSteps::flops_per_token() const { return trireme::flops_per_token(experiment_.model); }

double OwnSteps::gemm_peak() { return measure_gemm_peak(rank_.context(), dtype_of(experiment_.train.precision())); }

}  // namespace trireme
