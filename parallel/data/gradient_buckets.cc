#include "parallel/data/gradient_buckets.h"

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

#include "parallel/comm/traced_call.h"

namespace trireme {

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
    std::size_t to_come = 0;  // parameters whose contribution to this round is not on the stream yet
    Event complete;           // on the compute stream: checked, and summed over groups
    Event reduced;            // on the communication stream
    ArenaTensor memory;       // where rounds are micro-batches: from the first gradient of one until it is taken
  };

  Context& context;
  Communicator& dp;
  Stream communication;
  Trace::Track track, waits;
  const Options options;
  const BucketPlan plan;
  std::vector<Bucket> buckets;
  std::vector<bool> in_round;         // parameters
  std::vector<bool> is_ready;         // parameters
  std::deque<std::size_t> in_flight;  // buckets whose reductions nobody has waited for, the oldest first
  bool in_step = false;
  std::int64_t step = -1;
  ArenaTensor values;     // [groups, plan.elements]; where rounds are micro-batches [plan.elements / ranks]: the parts
  ArenaTensor own_flags;  // [parameters] i32

  State(Context& c, const BucketPlan& p, Communicator& d, Stream s, Options o)
      : context(c), dp(d), communication(s), options(o), plan(p) {}

  bool each_micro_batch() const { return plan.zero_stage >= 2 && options.order == Order::kFast; }
  // This rank's and this round's, of one group.
  Tensor unreduced(std::size_t bucket, int group) const;
  Tensor reduced_of(std::size_t bucket) const;
  Tensor gradient(std::size_t parameter, int group) const;
  void open(std::size_t bucket);
  void contribute(std::size_t parameter);
  void reduce(std::size_t bucket);
  void take_oldest();
};

Tensor GradientBuckets::State::unreduced(std::size_t bucket, int group) const {
  const BucketPlan::Range& range = plan.buckets[bucket].range;
  if (each_micro_batch()) return buckets[bucket].memory;
  return values->flat(group * plan.elements + range.begin, group * plan.elements + range.end);
}

Tensor GradientBuckets::State::reduced_of(std::size_t bucket) const {
  const BucketPlan::Range kept = plan.kept(bucket);
  if (!each_micro_batch()) return values->flat(kept.begin, kept.end);
  const std::int64_t begin = plan.buckets[bucket].range.begin / plan.ranks;
  return values->flat(begin, begin + kept.size());
}

Tensor GradientBuckets::State::gradient(std::size_t index, int group) const {
  const BucketPlan::Parameter& parameter = plan.parameters[index];
  const std::int64_t begin = parameter.begin - plan.buckets[parameter.bucket].range.begin;
  return unreduced(parameter.bucket, group).flat(begin, begin + parameter.box.elements()).view(parameter.box.size);
}

// Gives a bucket memory, where it has none yet.
void GradientBuckets::State::open(std::size_t index) {
  Bucket& bucket = buckets[index];
  if (!each_micro_batch()) return;
  while (std::find(in_flight.begin(), in_flight.end(), index) != in_flight.end()) take_oldest();
  if (bucket.memory.given()) return;
  bucket.memory = context.arena->allocate({plan.buckets[index].range.size()}, DType::kF32, "gradients to reduce");
  context.ops->fill(context.compute, bucket.memory, 0);
}

void GradientBuckets::State::contribute(std::size_t parameter) {
  CHECK(!in_round[parameter], plan.parameters[parameter].name, " is complete twice in a round of step ", step);
  in_round[parameter] = true;
  const std::size_t bucket = plan.parameters[parameter].bucket;
  open(bucket);
  if (--buckets[bucket].to_come == 0) reduce(bucket);
}

void GradientBuckets::State::reduce(std::size_t index) {
  Bucket& bucket = buckets[index];
  const BucketPlan::Bucket& planned = plan.buckets[index];
  const Kernels& ops = *context.ops;
  Device& device = *context.device;

  std::vector<Tensor> by_group, gradients;
  for (int group = 0; group < options.groups; ++group) by_group.push_back(unreduced(index, group));
  if (options.groups > 1) ops.sum_tree(context.compute, by_group[0], by_group);
  for (std::size_t i = planned.first; i < planned.last; ++i) gradients.push_back(gradient(i, 0));
  ops.find_nonfinite(context.compute,
                     own_flags->rows(static_cast<std::int64_t>(planned.first), static_cast<std::int64_t>(planned.last)),
                     gradients);

  device.record(context.compute, bucket.complete);
  device.wait(communication, bucket.complete);
  traced_call(device, communication, track, "reduce " + bucket.label, step, [&] {
    for (const ReplicaSum& sum : bucket.replica_sums) {
      const Tensor x = by_group[0].flat(sum.range.begin - planned.range.begin, sum.range.end - planned.range.begin);
      sum.group->all_reduce(communication, x, Reduction::kSum, {step, sum.label});
    }
    const CallFor call{step, bucket.label};
    if (plan.zero_stage == 0) return dp.all_reduce(communication, by_group[0], Reduction::kSum, call);
    const BucketPlan::Range part = plan.kept(index);
    const Tensor to = by_group[0].flat(part.begin - planned.range.begin, part.end - planned.range.begin);
    dp.reduce_scatter(communication, to, by_group[0], call);
  });
  device.record(communication, bucket.reduced);
  in_flight.push_back(index);

  bucket.to_come = planned.last - planned.first;
  std::fill(in_round.begin() + static_cast<std::ptrdiff_t>(planned.first),
            in_round.begin() + static_cast<std::ptrdiff_t>(planned.last), false);
  while (each_micro_batch() && in_flight.size() > kInFlight) take_oldest();
}

// The compute stream waits for the oldest reduction and, where rounds are micro-batches, adds it to the part.
void GradientBuckets::State::take_oldest() {
  const std::size_t index = in_flight.front();
  in_flight.pop_front();
  Bucket& bucket = buckets[index];
  traced_wait(*context.device, context.compute, bucket.reduced, waits, bucket.label, step);
  if (!each_micro_batch()) return;
  const BucketPlan::Range part = plan.kept(index);
  const std::int64_t first = plan.buckets[index].range.begin;
  context.ops->add(context.compute, reduced_of(index), bucket.memory->flat(part.begin - first, part.end - first));
  bucket.memory = {};
}

GradientBuckets::GradientBuckets(Context& context, const BucketPlan& plan, Communicator& dp, Stream communication,
                                 Trace* trace, Options options)
    : state_(std::make_unique<State>(context, plan, dp, communication, options)) {
  CHECK(!plan.parameters.empty(), "no parameters");
  CHECK(plan.ranks == dp.size() && plan.rank == dp.rank(), "a plan for rank ", plan.rank, " of ", plan.ranks,
        " on rank ", dp.rank(), " of ", dp.size());
  CHECK(options.groups >= 1 && (options.groups & (options.groups - 1)) == 0, "groups = ", options.groups);
  CHECK(options.order == Order::kExact || options.groups == 1, options.groups, " groups in fast numerics");
  State& state = *state_;
  state.track = track_of(trace, kCommunicationTrack);
  state.waits = track_of(trace, kWaitsTrack);
  const Shape shape =
      state.each_micro_batch() ? Shape{plan.elements / plan.ranks} : Shape{options.groups, plan.elements};
  state.values = context.arena->allocate(shape, DType::kF32, "gradients");
  state.own_flags =
      context.arena->allocate({static_cast<std::int64_t>(plan.parameters.size())}, DType::kI32, "gradients");
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
}

int GradientBuckets::groups() const { return state_->options.groups; }

void GradientBuckets::begin_step(std::int64_t step) {
  State& state = *state_;
  CHECK(!state.in_step, "step ", step, " begins before step ", state.step, " is finished");
  state.in_step = true;
  state.step = step;
  state.in_round.assign(state.plan.parameters.size(), false);
  state.is_ready.assign(state.plan.parameters.size(), false);
  for (std::size_t i = 0; i < state.buckets.size(); ++i)
    state.buckets[i].to_come = state.plan.buckets[i].last - state.plan.buckets[i].first;
  state.context.ops->fill(state.context.compute, state.values, 0);
  state.context.ops->fill(state.context.compute, state.own_flags, 0);
}

Tensor GradientBuckets::gradient(std::size_t index, int group) {
  CHECK(state_->in_step, "a gradient outside of a step");
  state_->open(state_->plan.parameters.at(index).bucket);
  return state_->gradient(index, group);
}

void GradientBuckets::added(std::size_t index) {
  CHECK(state_->in_step && !state_->is_ready.at(index), "parameter ", index, " is added to after it was ready");
  if (state_->each_micro_batch()) state_->contribute(index);
}

void GradientBuckets::ready(std::size_t index) {
  CHECK(state_->in_step, "parameter ", index, " is ready outside of a step");
  CHECK(!state_->is_ready.at(index), "parameter ", index, " is ready twice in step ", state_->step);
  state_->is_ready[index] = true;
  state_->contribute(index);
}

void GradientBuckets::finish() {
  State& state = *state_;
  CHECK(state.in_step, "finish outside of a step");
  for (std::size_t i = 0; i < state.is_ready.size(); ++i)
    CHECK(state.is_ready[i], "step ", state.step, " finishes, but parameter ", i, " of ",
          state.buckets[state.plan.parameters[i].bucket].label, " was never ready");
  for (std::size_t i = 0; i < state.buckets.size(); ++i)
    CHECK(state.buckets[i].to_come == state.plan.buckets[i].last - state.plan.buckets[i].first, "step ", state.step,
          " finishes within a round of ", state.buckets[i].label);
  while (!state.in_flight.empty()) state.take_oldest();
  state.in_step = false;
}

Tensor GradientBuckets::reduced(std::size_t bucket) const { return state_->reduced_of(bucket); }
Tensor GradientBuckets::own_nonfinite() const { return state_->own_flags; }

}  // namespace trireme
