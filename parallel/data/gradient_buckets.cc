#include "parallel/data/gradient_buckets.h"

#include <chrono>

namespace trireme {
namespace {

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

struct GradientBuckets::State {
  // Neighbours whose gradients are added over ranks of tensor parallelism, gaps between them included.
  struct ReplicaSum {
    std::string label;
    Communicator* group;
    BucketPlan::Range range;
  };
  struct Bucket {
    std::string label;  // what its call is for
    std::vector<ReplicaSum> replica_sums;
    std::size_t to_come = 0;    // parameters that are not ready yet
    Event complete;             // on the compute stream: checked, and summed over groups
    Event reduced;              // on the communication stream
    std::int64_t began_ns = 0;  // touched by tasks of the communication stream only
  };

  Context& context;
  Communicator& dp;
  Stream communication;
  Trace::Track track;
  Options options;
  BucketPlan plan;
  std::vector<Bucket> buckets;
  std::vector<bool> is_ready;
  std::size_t reduced_buckets = 0;
  bool in_step = false;
  std::int64_t step = -1;
  Event flags_gathered;
  ArenaTensor values;                          // [groups, plan.elements]
  ArenaTensor own_flags;                       // [specs] i32
  ArenaTensor all_flags;                       // [dp, specs] i32
  std::vector<std::vector<Tensor>> gradients;  // [group][spec]

  State(Context& c, const BucketPlan& p, Communicator& d, Stream s, Options o)
      : context(c), dp(d), communication(s), options(o), plan(p) {}

  Tensor elements(int group, BucketPlan::Range range) const {
    return values->flat(group * plan.elements + range.begin, group * plan.elements + range.end);
  }
  void reduce(std::size_t index);
};

GradientBuckets::GradientBuckets(Context& context, const BucketPlan& plan, Communicator& dp, Stream communication,
                                 Trace* trace, Options options)
    : state_(std::make_unique<State>(context, plan, dp, communication, options)) {
  CHECK(!plan.parameters.empty(), "no parameters");
  CHECK(plan.ranks == dp.size(), "a plan for ", plan.ranks, " ranks on ", dp.size());
  CHECK(options.groups >= 1 && (options.groups & (options.groups - 1)) == 0, "groups = ", options.groups);
  State& state = *state_;
  if (trace != nullptr) state.track = trace->track("communication");
  const auto count = static_cast<std::int64_t>(plan.parameters.size());
  state.values = context.arena->allocate({options.groups, state.plan.elements}, DType::kF32, "gradients");
  state.own_flags = context.arena->allocate({count}, DType::kI32, "gradients");
  state.all_flags = context.arena->allocate({dp.size(), count}, DType::kI32, "gradients");

  state.gradients.resize(static_cast<std::size_t>(options.groups));
  for (int group = 0; group < options.groups; ++group)
    for (const BucketPlan::Parameter& parameter : plan.parameters) {
      const Tensor flat = state.elements(group, {parameter.begin, parameter.begin + parameter.box.elements()});
      state.gradients[static_cast<std::size_t>(group)].push_back(flat.view(parameter.box.size));
    }

  for (std::size_t i = 0; i < plan.buckets.size(); ++i) {
    const BucketPlan::Bucket& planned = plan.buckets[i];
    State::Bucket bucket;
    bucket.label = "gradients " + std::to_string(i) + ": " + plan.parameters[planned.first].name;
    if (planned.last - planned.first > 1) bucket.label += " to " + plan.parameters[planned.last - 1].name;
    if (options.replicas != nullptr)
      for (const ReplicaSums::Run& run : options.replicas->runs(planned.first, planned.last)) {
        const BucketPlan::Parameter& last = plan.parameters[run.last - 1];
        bucket.replica_sums.push_back({"replicas of " + plan.parameters[run.first].name,
                                       run.group,
                                       {plan.parameters[run.first].begin, last.begin + last.box.elements()}});
      }
    bucket.complete = context.device->create_event();
    bucket.reduced = context.device->create_event();
    state.buckets.push_back(std::move(bucket));
  }
  state.flags_gathered = context.device->create_event();
}

GradientBuckets::~GradientBuckets() {
  Device& device = *state_->context.device;
  try {
    device.synchronize(state_->communication);  // its tasks use what goes now
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): whoever waited has thrown it already, or will
  }
  for (const State::Bucket& bucket : state_->buckets) {
    device.destroy_event(bucket.complete);
    device.destroy_event(bucket.reduced);
  }
  device.destroy_event(state_->flags_gathered);
}

int GradientBuckets::groups() const { return state_->options.groups; }

Tensor GradientBuckets::gradient(std::size_t index, int group) const {
  return state_->gradients.at(static_cast<std::size_t>(group)).at(index);
}

void GradientBuckets::begin_step(std::int64_t step) {
  State& state = *state_;
  CHECK(!state.in_step, "step ", step, " begins before step ", state.step, " is finished");
  state.in_step = true;
  state.step = step;
  state.reduced_buckets = 0;
  state.is_ready.assign(state.plan.parameters.size(), false);
  for (std::size_t i = 0; i < state.buckets.size(); ++i)
    state.buckets[i].to_come = state.plan.buckets[i].last - state.plan.buckets[i].first;
  state.context.ops->fill(state.context.compute, state.values, 0);
}

void GradientBuckets::ready(std::size_t index) {
  State& state = *state_;
  CHECK(state.in_step, "parameter ", index, " is ready outside of a step");
  CHECK(!state.is_ready.at(index), "parameter ", index, " is ready twice in step ", state.step);
  state.is_ready[index] = true;
  const std::size_t bucket = state.plan.parameters[index].bucket;
  if (--state.buckets[bucket].to_come == 0) state.reduce(bucket);
}

void GradientBuckets::State::reduce(std::size_t index) {
  Bucket& bucket = buckets[index];
  const BucketPlan::Bucket& planned = plan.buckets[index];
  const Kernels& ops = *context.ops;
  Device& device = *context.device;

  std::vector<Tensor> by_group;
  for (int group = 0; group < options.groups; ++group) by_group.push_back(elements(group, planned.range));
  if (options.groups > 1) ops.sum_tree(context.compute, by_group[0], by_group);
  ops.find_nonfinite(context.compute,
                     own_flags->rows(static_cast<std::int64_t>(planned.first), static_cast<std::int64_t>(planned.last)),
                     Tensors(gradients[0]).subspan(planned.first, planned.last - planned.first));

  device.record(context.compute, bucket.complete);
  device.wait(communication, bucket.complete);
  device.run(communication, [&bucket] { bucket.began_ns = now_ns(); });
  for (const ReplicaSum& sum : bucket.replica_sums)
    sum.group->all_reduce(communication, elements(0, sum.range), Reduction::kSum, {step, sum.label});
  dp.all_reduce(communication, by_group[0], Reduction::kSum, {step, bucket.label});
  device.run(communication,
             [&bucket, on = track, of = step] { on.add("reduce " + bucket.label, of, bucket.began_ns, now_ns()); });
  device.record(communication, bucket.reduced);
  ++reduced_buckets;
}

void GradientBuckets::finish() {
  State& state = *state_;
  CHECK(state.in_step, "finish outside of a step");
  for (std::size_t i = 0; i < state.is_ready.size(); ++i)
    CHECK(state.is_ready[i], "step ", state.step, " finishes, but parameter ", i, " of ",
          state.buckets[state.plan.parameters[i].bucket].label, " was never ready");
  CHECK(state.reduced_buckets == state.buckets.size(), state.reduced_buckets, " buckets of ", state.buckets.size());
  state.in_step = false;

  // The flags of the last bucket come before its `complete`, which the communication stream has waited for.
  Device& device = *state.context.device;
  state.dp.all_gather(state.communication, state.all_flags, state.own_flags, {state.step, "non-finite flags"});
  device.record(state.communication, state.flags_gathered);
  for (const State::Bucket& bucket : state.buckets) device.wait(state.context.compute, bucket.reduced);
  device.wait(state.context.compute, state.flags_gathered);
}

Tensors GradientBuckets::reduced() const { return state_->gradients[0]; }
Tensor GradientBuckets::own_nonfinite() const { return state_->own_flags; }
Tensor GradientBuckets::all_nonfinite() const { return state_->all_flags; }

}  // namespace trireme
