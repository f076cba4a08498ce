#include "tests/trainer/small_run.h"

#include <algorithm>
#include <cstring>

#include "trainer/step/rank_batches.h"

namespace trireme {

SmallRun::SmallRun(LocalGroup& group, int rank, const Experiment& experiment, const Layout& layout,
                   const BatchPlan& sizes, const HostOptions& options, std::size_t more)
    : experiment_(experiment),
      plan_(rank_batches(layout.mesh, rank, sizes)),
      rank_(group, rank, options, more * plan_step(experiment, layout, sizes, rank).arena_bytes),
      peers_(rank_.peers()),
      mesh_(layout.mesh, peers_),
      step_(rank_.context(), experiment, layout, mesh_, rank_.streams(), nullptr) {
  step_.initialize();
}

SmallRun::SmallRun(LocalGroup& group, const Experiment& experiment, const BatchPlan& plan, const HostOptions& options,
                   std::size_t more)
    : SmallRun(group, static_cast<int>(plan.rank), experiment, {.mesh = {.dp = static_cast<int>(plan.dp)}}, plan,
               options, more) {}

namespace {

struct Element {
  std::int64_t parameter;  // of the model
  std::int64_t at;
  double value;
};

}  // namespace

oracle::Tensors SmallRun::joined(const std::vector<HeldTensor>& held) {
  const std::vector<ParamSpec>& model = step_.model_specs();
  oracle::Tensors values;
  for (const ParamSpec& spec : model)
    if (spec.tied_to.empty()) values[spec.name].resize(static_cast<std::size_t>(spec.shape.elements()));
  std::vector<Element> mine;
  for (const HeldTensor& one : held) {
    if (!one.spec->tied_to.empty()) continue;  // a replica
    const auto number =
        std::find_if(model.begin(), model.end(), [&](const ParamSpec& spec) { return spec.name == one.spec->name; });
    const std::vector<double> elements = rank_.read(one.tensor);
    for_each_run(one.spec->shape, one.box, [&](BoxRun run) {
      for (std::int64_t i = 0; i < run.count; ++i)
        mine.push_back({number - model.begin(), run.global + i, elements[static_cast<std::size_t>(run.local + i)]});
    });
  }
  const std::string_view message(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(Element));
  for (const std::string& part : rank_.peers().gather_to_all(message, {-1, "values of a test"}))
    for (std::size_t at = 0; at < part.size(); at += sizeof(Element)) {
      Element element;
      std::memcpy(&element, part.data() + at, sizeof(element));
      values.at(model[static_cast<std::size_t>(element.parameter)].name)[static_cast<std::size_t>(element.at)] =
          element.value;
    }
  return values;
}

void SmallRun::set_weights(const oracle::Tensors& weights) {
  step_.optimizer().settle();
  for (const HeldTensor& one : step_.held_masters()) {
    const std::vector<double>& all = weights.at(one.spec->tied_to.empty() ? one.spec->name : one.spec->tied_to);
    std::vector<double> mine(static_cast<std::size_t>(one.box.elements()));
    for_each_run(one.spec->shape, one.box, [&](BoxRun run) {
      for (std::int64_t i = 0; i < run.count; ++i)
        mine[static_cast<std::size_t>(run.local + i)] = all[static_cast<std::size_t>(run.global + i)];
    });
    rank_.write(one.tensor, mine);
  }
  step_.optimizer().round_masters();
}

oracle::Tensors SmallRun::weights() { return joined(step_.held_weights()); }
oracle::Tensors SmallRun::masters() { return joined(step_.held_masters()); }
oracle::Tensors SmallRun::gradients() {
  oracle::Tensors gradients = joined(step_.held_gradients());
  for (auto& [name, values] : gradients)
    for (double& value : values) value /= gradient_scale_;
  return gradients;
}

StepReport SmallRun::run(std::int64_t number, double learning_rate) {
  gradient_scale_ = scale();
  step_.run(number, small_micro_batches(experiment_.model, plan_, number - 1), learning_rate);
  const StepReport report = step_.report();
  progress_ = report.progress;
  return report;
}

StepReport SmallRun::run(std::int64_t number, double learning_rate, const Schedule& schedule) {
  gradient_scale_ = scale();
  step_.run(number, small_micro_batches(experiment_.model, plan_, number - 1), learning_rate, schedule);
  const StepReport report = step_.report();
  progress_ = report.progress;
  return report;
}

}  // namespace trireme
