// pipeline_bubble [MILLISECONDS [RUNS]]: how much of a step's time a pipeline wastes, run beside simulated. 4 ranks as
// threads, whose stages sleep so long for each of F, B and W instead of computing, so that cores do not matter. Prints
// a line for each schedule, the median of the runs, and a verdict; ends with 1 if a measured bubble is further than
// 10 % of the step from the simulated one. A measurement, and so no test of the default run: a loaded machine sleeps
// late, the more so in proportion the shorter it is asked to.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "parallel/pipeline/simulate.h"
#include "tests/trainer/test_rank.h"
#include "trainer/step/pipeline_run.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

// Sleeps for as long as each of F, B and W would take.
class SleepingStage : public Stage {
 public:
  SleepingStage(std::chrono::microseconds each, std::atomic<std::int64_t>& busy_ns) : each_(each), busy_ns_(busy_ns) {}

  Shape boundary_shape(const Pass&) const override { return {16, 16}; }
  ArenaTensor forward(const Pass& pass, int, ArenaTensor) override { return work(pass, 1); }
  ArenaTensor backward_input(const Pass& pass, int, ArenaTensor) override { return work(pass, 1); }
  void backward_weight(const Pass& pass, int) override { work(pass, 1); }
  ArenaTensor backward(const Pass& pass, int, ArenaTensor) override { return work(pass, 2); }
  ArenaTensor evaluate(const Pass& pass, ArenaTensor) override { return work(pass, 1); }
  KvCaches make_caches(Context&, DType, std::int64_t) const override { return {}; }
  ArenaTensor extend(const Pass&, ArenaTensor x, KvCaches&) override { return x; }

 private:
  ArenaTensor work(const Pass& pass, int times) {
    pass.context->device->run(pass.stream(), [this, times] {
      const auto begin = Clock::now();
      std::this_thread::sleep_for(times * each_);
      busy_ns_ += std::chrono::nanoseconds(Clock::now() - begin).count();
    });
    ArenaTensor y = pass.activation(boundary_shape(pass));
    pass.ops().fill(pass.stream(), y, 0);
    return y;
  }
  std::chrono::microseconds each_;
  std::atomic<std::int64_t>& busy_ns_;
};

// The part of ranks x step in which no stage works.
double measured_bubble(PipelineShape shape, const Schedules& schedules, std::chrono::microseconds each) {
  std::atomic<std::int64_t> busy_ns = 0;
  std::vector<Clock::time_point> begins(schedules.size()), ends(schedules.size());
  run_as_ranks(shape.ranks, [&](LocalGroup& group, int rank) {
    TestRank mine(group, rank, {}, std::size_t{1} << 20);
    std::vector<SleepingStage> stages(static_cast<std::size_t>(shape.chunks), SleepingStage(each, busy_ns));
    std::vector<Stage*> pointers;
    for (SleepingStage& stage : stages) pointers.push_back(&stage);
    const MeshCommunicators peers({.pp = shape.ranks}, mine.peers());
    PipelineRun pipeline(mine.context(), pointers, peers, mine.streams().transfers, nullptr);
    const Parameters no_parameters(mine.context(), {}, DType::kF32);
    const Pass pass{.context = &mine.context(), .parameters = &no_parameters};
    mine.peers().gather_to_all("", {-1, "begin"});
    const auto at = static_cast<std::size_t>(rank);
    begins[at] = Clock::now();
    pipeline.run(
        schedules[at], [&](int) { return pass; }, 1);
    mine.context().device->synchronize(mine.context().compute);
    ends[at] = Clock::now();
  });
  const auto step = *std::max_element(ends.begin(), ends.end()) - *std::min_element(begins.begin(), begins.end());
  return 1 - static_cast<double>(busy_ns) /
                 (static_cast<double>(shape.ranks) * static_cast<double>(std::chrono::nanoseconds(step).count()));
}

struct Measured {
  const char* name;
  config::Pipeline::Schedule schedule;
  PipelineShape shape;
  int micro_batches;
};

double median_bubble(PipelineShape shape, const Schedules& schedules, std::chrono::microseconds each, int runs) {
  std::vector<double> bubbles;
  for (int run = 0; run < runs; ++run) bubbles.push_back(measured_bubble(shape, schedules, each));
  const auto middle = bubbles.begin() + runs / 2;
  std::nth_element(bubbles.begin(), middle, bubbles.end());
  return *middle;
}

int measure(std::chrono::microseconds each, int runs) {
  constexpr double kFurthest = 0.1;  // of the step

  using config::Pipeline;
  const Measured all[] = {{"gpipe", Pipeline::gpipe, {4, 1}, 8},
                          {"1f1b", Pipeline::one_f_one_b, {4, 1}, 8},
                          {"1f1b", Pipeline::one_f_one_b, {4, 1}, 2},
                          {"interleaved-1f1b", Pipeline::interleaved_1f1b, {4, 2}, 8}};
  bool holds = true;
  std::printf("%-18s %6s %6s %14s %10s %10s %10s\n", "schedule", "ranks", "chunks", "micro-batches", "simulated",
              "measured", "apart");
  for (const auto& [name, schedule, shape, micro_batches] : all) {
    const Schedules schedules = pipeline_schedules(schedule, shape, micro_batches);
    const double simulated = simulate(shape, schedules, {}).bubble;
    const double measured = median_bubble(shape, schedules, each / shape.chunks, runs);
    const bool near = std::abs(measured - simulated) <= kFurthest;
    holds = holds && near;
    std::printf("%-18s %6d %6d %14d %8.1f %% %8.1f %% %8.1f %%%s\n", name, shape.ranks, shape.chunks, micro_batches,
                100 * simulated, 100 * measured, 100 * (measured - simulated), near ? "" : "  too far");
  }
  std::printf(holds ? "holds: every bubble measured is within %.0f %% of the step of the simulated one\n"
                    : "does not hold: a bubble measured is further than %.0f %% of the step from the simulated one\n",
              100 * kFurthest);
  return holds ? 0 : 1;
}

}  // namespace
}  // namespace trireme

int main(int count, char** arguments) {
  const int milliseconds = count > 1 ? std::atoi(arguments[1]) : 50;
  const int runs = count > 2 ? std::atoi(arguments[2]) : 3;
  if (count > 3 || milliseconds < 1 || runs < 1) {
    std::fprintf(stderr, "usage: pipeline_bubble [MILLISECONDS [RUNS]], whole numbers from 1\n");
    return 2;
  }
  return trireme::measure(std::chrono::milliseconds(milliseconds), runs);
}
