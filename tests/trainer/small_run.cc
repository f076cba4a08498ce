#include "tests/trainer/small_run.h"

namespace trireme {

SmallRun::SmallRun(LocalGroup& group, int rank, const Experiment& experiment, const Layout& layout,
                   const BatchPlan& plan, const HostOptions& options, std::size_t more)
    : experiment_(experiment),
      plan_(plan),
      rank_(group, rank, options, more * plan_step(experiment, layout, plan, rank).arena_bytes),
      peers_(rank_.peers()),
      mesh_(layout.mesh, peers_),
      step_(rank_.context(), experiment, layout, mesh_, rank_.streams(), nullptr) {
  step_.initialize();
}

SmallRun::SmallRun(LocalGroup& group, const Experiment& experiment, const BatchPlan& plan, const HostOptions& options,
                   std::size_t more)
    : SmallRun(group, static_cast<int>(plan.rank), experiment, {.mesh = {.dp = static_cast<int>(plan.dp)}}, plan,
               options, more) {}

template <class Read>
oracle::Tensors SmallRun::of_owned(Read read) {
  oracle::Tensors values;
  for (ParamIndex i = 0; i < step_.parameters().count(); ++i)
    if (step_.parameters().owned(i)) values[step_.parameters().spec(i).name] = rank_.read(read(i));
  return values;
}

void SmallRun::set_weights(const oracle::Tensors& weights) {
  for (ParamIndex i = 0; i < step_.parameters().count(); ++i)
    if (step_.parameters().owned(i))
      rank_.write(step_.optimizer().master(i), weights.at(step_.parameters().spec(i).name));
  step_.optimizer().round_masters();
}

oracle::Tensors SmallRun::weights() {
  return of_owned([&](ParamIndex i) { return step_.parameters().value(i); });
}
oracle::Tensors SmallRun::masters() {
  return of_owned([&](ParamIndex i) { return step_.optimizer().master(i); });
}
oracle::Tensors SmallRun::gradients() {
  return of_owned([&](ParamIndex i) { return step_.gradients()[i]; });
}

StepReport SmallRun::run(std::int64_t number, double learning_rate) {
  step_.run(number, small_micro_batches(experiment_.model, plan_, number - 1), learning_rate);
  return step_.report();
}

StepReport SmallRun::run(std::int64_t number, double learning_rate, const Schedule& schedule) {
  step_.run(number, small_micro_batches(experiment_.model, plan_, number - 1), learning_rate, schedule);
  return step_.report();
}

}  // namespace trireme
