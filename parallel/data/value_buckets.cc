#include "parallel/data/value_buckets.h"

#include <string>
#include <vector>

#include "cuda/ops/kernels.h"
#include "parallel/comm/traced_call.h"

namespace trireme {

struct ValueBuckets::State {
  struct Unit {
    std::string label;
    Event gathered;           // on the communication stream
    bool on_the_way = false;  // the compute stream has not waited for `gathered` since it was recorded
    int holders = 0;
    bool expected = false;
    ArenaTensor values;  // stage 3: of all its buckets, while it is held or expected
  };

  Context& context;
  const BucketPlan plan;
  const DType dtype;
  const Travel travel;
  Trace::Track track, waits;
  std::int64_t step = -1;  // whose update the values are
  std::vector<Unit> units;
  ArenaTensor kept;  // stages 0 to 2: [plan.valued_elements]; stage 3: this rank's parts of that
  Event written;     // on the compute stream

  State(Context& c, const BucketPlan& p, DType d, const Travel& t) : context(c), plan(p), dtype(d), travel(t) {}

  bool travels() const { return plan.zero_stage > 0; }
  bool gathers_for_use() const { return plan.zero_stage == 3; }
  Tensor kept_of(std::size_t bucket) const;
  Tensor whole(std::size_t bucket) const;
  void gather(std::size_t unit);
  void arrive(std::size_t unit);
  void free_unused(std::size_t unit);
};

Tensor ValueBuckets::State::kept_of(std::size_t bucket) const {
  const BucketPlan::Bucket& planned = plan.buckets.at(bucket);
  CHECK(plan.units[planned.unit].valued, "bucket ", bucket, " has no values of its own");
  const BucketPlan::Range range = plan.kept(bucket);
  std::int64_t begin = planned.values_begin + range.begin - planned.range.begin;
  if (gathers_for_use()) begin = planned.values_begin / plan.ranks;
  return kept->flat(begin, begin + range.size());
}

// Of a unit that is here.
Tensor ValueBuckets::State::whole(std::size_t bucket) const {
  const BucketPlan::Bucket& planned = plan.buckets.at(bucket);
  const std::int64_t begin = planned.values_begin;
  if (!gathers_for_use()) return kept->flat(begin, begin + planned.range.size());
  const Unit& unit = units[planned.unit];
  const std::int64_t first = plan.buckets[plan.units[planned.unit].first_bucket].values_begin;
  return unit.values->flat(begin - first, begin - first + planned.range.size());
}

// Behind all that the compute stream has to do so far.
void ValueBuckets::State::gather(std::size_t index) {
  Unit& unit = units[index];
  const BucketPlan::Unit& planned = plan.units[index];
  if (gathers_for_use()) {
    std::int64_t elements = 0;
    for (std::size_t b = planned.first_bucket; b < planned.last_bucket; ++b) elements += plan.buckets[b].range.size();
    unit.values = context.arena->allocate({elements}, dtype, "gathered parameters");
  }
  Device& device = *context.device;
  device.record(context.compute, written);
  device.wait(travel.communication, written);
  for (std::size_t b = planned.first_bucket; b < planned.last_bucket; ++b)
    traced_call(device, travel.communication, track, "gather " + unit.label, step, [&] {
      travel.dp->all_gather(travel.communication, whole(b), kept_of(b), {step, unit.label});
    });
  device.record(travel.communication, unit.gathered);
  unit.on_the_way = true;
}

void ValueBuckets::State::arrive(std::size_t index) {
  Unit& unit = units[index];
  if (unit.on_the_way) traced_wait(*context.device, context.compute, unit.gathered, waits, unit.label, step);
  unit.on_the_way = false;
}

void ValueBuckets::State::free_unused(std::size_t index) {
  Unit& unit = units[index];
  if (!unit.values.given() || unit.holders > 0 || unit.expected) return;
  arrive(index);  // the memory may be the compute stream's next
  unit.values = {};
}

ValueBuckets::ValueBuckets(Context& context, const BucketPlan& plan, DType dtype, const Travel& travel)
    : state_(std::make_unique<State>(context, plan, dtype, travel)) {
  State& state = *state_;
  CHECK(travel.dp == nullptr ? !state.travels() : travel.dp->size() == plan.ranks, "values in ", plan.ranks,
        " parts without their ranks");
  state.track = track_of(travel.trace, kCommunicationTrack);
  state.waits = track_of(travel.trace, kWaitsTrack);
  const std::int64_t elements = plan.valued_elements;
  state.kept =
      context.arena->allocate({state.gathers_for_use() ? elements / plan.ranks : elements}, dtype, "parameters");
  // Buckets are filled up until ranks divide them, and all of it travels.
  if (state.travels()) context.ops->fill(context.compute, state.kept, 0);
  state.written = context.device->create_event();
  for (const BucketPlan::Unit& planned : plan.units) {
    State::Unit& unit = state.units.emplace_back();
    unit.label = "values of " + planned.name;
    unit.gathered = context.device->create_event();
  }
}

ValueBuckets::~ValueBuckets() {
  Device& device = *state_->context.device;
  if (state_->travels()) {
    try {
      device.synchronize(state_->travel.communication);  // its tasks use what goes now
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): whoever waited has thrown it already, or will
    }
  }
  for (const State::Unit& unit : state_->units) device.destroy_event(unit.gathered);
  device.destroy_event(state_->written);
}

const BucketPlan& ValueBuckets::plan() const { return state_->plan; }
DType ValueBuckets::dtype() const { return state_->dtype; }

Tensor ValueBuckets::kept(std::size_t bucket) const { return state_->kept_of(bucket); }

void ValueBuckets::settle() {
  for (std::size_t unit = 0; unit < state_->units.size(); ++unit) {
    CHECK(!state_->gathers_for_use() || state_->units[unit].holders == 0, state_->units[unit].label,
          " are written while they are held");
    state_->arrive(unit);
    state_->units[unit].expected = false;  // what was gathered is old now
    state_->free_unused(unit);
  }
}

void ValueBuckets::written(std::int64_t step) {
  State& state = *state_;
  settle();
  state.step = step;
  if (!state.travels() || state.gathers_for_use()) return;
  for (std::size_t unit = 0; unit < state.units.size(); ++unit)
    if (state.plan.units[unit].valued) state.gather(unit);
}

Tensor ValueBuckets::value(std::size_t parameter) const {
  const State& state = *state_;
  const BucketPlan::Parameter& planned = state.plan.parameters.at(parameter);
  const State::Unit& unit = state.units[planned.unit];
  CHECK(!unit.on_the_way && (!state.gathers_for_use() || unit.holders > 0), planned.name, " is used without a hold of ",
        unit.label);
  const std::int64_t begin = planned.begin - state.plan.buckets[planned.bucket].range.begin;
  return state.whole(planned.bucket).flat(begin, begin + planned.box.elements()).view(planned.box.size);
}

void ValueBuckets::hold(std::span<const std::size_t> units) {
  for (const std::size_t unit : units) {
    if (state_->gathers_for_use() && !state_->units[unit].values.given()) state_->gather(unit);
    state_->arrive(unit);
    state_->units[unit].expected = false;
    ++state_->units[unit].holders;
  }
}

void ValueBuckets::release(std::span<const std::size_t> units) {
  for (const std::size_t unit : units) {
    CHECK(state_->units[unit].holders > 0, state_->units[unit].label, " are released but not held");
    --state_->units[unit].holders;
    state_->free_unused(unit);
  }
}

void ValueBuckets::expect(std::span<const std::size_t> units) {
  if (!state_->gathers_for_use()) return;
  for (const std::size_t unit : units) {
    if (!state_->units[unit].values.given()) state_->gather(unit);
    state_->units[unit].expected = true;
  }
}

}  // namespace trireme
