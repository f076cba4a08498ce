#include "trainer/step/pipeline_run.h"

#include "monitoring/check.h"
#include "parallel/comm/traced_call.h"

namespace trireme {
namespace {

using Kind = Instruction::Kind;

// "micro-batch 3 from stage 1 to 2": up the stages it is an activation, down it is a gradient. The same on both sides.
std::string message_name(const Instruction& transfer) {
  const int other = counterpart(transfer).stage;
  const int from = transfer.is_send() ? transfer.stage : other, to = transfer.is_send() ? other : transfer.stage;
  return "micro-batch " + std::to_string(transfer.micro_batch) + " from stage " + std::to_string(from) + " to " +
         std::to_string(to);
}

std::string message_names(std::span<const Instruction> transfers) {
  std::string names;
  for (const Instruction& transfer : transfers) {
    if (!names.empty()) names += ", ";
    names += message_name(transfer);
  }
  return names;
}

}  // namespace

PipelineRun::PipelineRun(Context& context, std::vector<Stage*> stages, const MeshCommunicators& peers, Stream transfers,
                         Trace* trace)
    : context_(context),
      stages_(std::move(stages)),
      pp_(peers.pp()),
      shape_{peers.pp().size(), static_cast<int>(stages_.size())},
      compute_track_(track_of(trace, kComputeTrack)),
      waits_track_(track_of(trace, kWaitsTrack)),
      computed_(context.device->create_event()),
      elsewhere_(context.device->create_event()) {
  for (Lane* lane : {&activations_, &gradients_}) lane->done = context.device->create_event();
  if (shape_.ranks == 1) return;
  activations_.peers = &pp_;
  activations_.stream = transfers;
  gradients_.peers = &peers.pp_gradients();
  gradients_.stream = context.device->create_stream(StreamKind::kCommunication, "gradients between stages");
  activations_.track = track_of(trace, kActivationsTrack);
  gradients_.track = track_of(trace, kStageGradientsTrack);
}

PipelineRun::~PipelineRun() {
  Device& device = *context_.device;
  if (shape_.ranks > 1) {
    for (const Lane* lane : {&activations_, &gradients_}) try {
        device.synchronize(lane->stream);  // its tasks use what goes now
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): whoever waited has thrown it already, or will
      }
    device.destroy_stream(gradients_.stream);
  }
  for (const Lane* lane : {&activations_, &gradients_}) {
    device.destroy_event(lane->done);
    for (const Event event : lane->events) device.destroy_event(event);
  }
  device.destroy_event(computed_);
  device.destroy_event(elsewhere_);
}

void PipelineRun::behind(Lane& lane, Stream stream) {
  const Event event = stream.handle == context_.compute.handle ? computed_ : elsewhere_;
  context_.device->record(stream, event);
  context_.device->wait(lane.stream, event);
}

void PipelineRun::behind(Stream stream, Lane& lane, const CallFor& call) {
  context_.device->record(lane.stream, lane.done);
  if (stream.handle == context_.compute.handle)
    traced_wait(*context_.device, stream, lane.done, waits_track_, std::string(call.tensor), call.step);
  else
    context_.device->wait(stream, lane.done);
}

Event PipelineRun::take_event(Lane& lane) {
  if (lane.free_events.empty()) {
    lane.events.push_back(context_.device->create_event());
    lane.free_events.push_back(lane.events.back());
  }
  const Event event = lane.free_events.back();
  lane.free_events.pop_back();
  return event;
}

// What the compute stream does from here on may use it.
ArenaTensor PipelineRun::take(Arrivals& from, int stage, int micro_batch, std::int64_t step) {
  const auto found = from.find({stage, micro_batch});
  CHECK(found != from.end(), "nothing has come to stage ", stage, " for micro-batch ", micro_batch);
  Arrival arrival = std::move(found->second);
  from.erase(found);
  if (Lane* lane = arrival.lane) {
    traced_wait(*context_.device, context_.compute, arrival.event, waits_track_, std::string(arrival.call), step);
    lane->free_events.push_back(arrival.event);
    while (!lane->sent.empty() && lane->sent.front().first <= arrival.exchange) lane->sent.pop_front();
  }
  return std::move(arrival.tensor);
}

void PipelineRun::pass_on(Arrivals& to, int stage, int micro_batch, ArenaTensor tensor) {
  Arrival& arrival = to[{stage, micro_batch}];
  CHECK(!arrival.tensor.given(), "stage ", stage, " is given micro-batch ", micro_batch, " twice");
  arrival.tensor = std::move(tensor);
}

void PipelineRun::run(const Schedule& schedule, const PassOf& pass_of, std::int64_t step) {
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    const Instruction& now = schedule[i];
    if (now.is_transfer()) {
      std::size_t end = i + 1;
      while (end < schedule.size() && schedule[end].joined) ++end;
      exchange(std::span(schedule).subspan(i, end - i), pass_of, step);
      i = end - 1;
      continue;
    }
    const bool fused = fused_backward(schedule, i);
    const Trace::Span span(compute_track_, to_string(now), step);
    compute(now, fused, pass_of(now.micro_batch));
    if (fused) ++i;
  }
  finish_transfers(step);
  CHECK(inputs_.empty() && output_gradients_.empty() && outputs_.empty() && input_gradients_.empty(),
        "a schedule ends with results that nobody took");
}

void PipelineRun::compute(const Instruction& now, bool fused, const Pass& pass) {
  const auto [stage_number, kind, micro_batch, joined] = now;
  Stage& mine = stage(stage_number);
  const bool first = stage_number == 0, last = stage_number == shape_.last_stage();
  if (kind == Kind::kBackwardWeight) return mine.backward_weight(pass, micro_batch);
  if (kind == Kind::kForward) {
    ArenaTensor x = first ? ArenaTensor() : take(inputs_, stage_number, micro_batch, pass.step);
    ArenaTensor y = mine.forward(pass, micro_batch, std::move(x));
    if (last) return;
    if (here(stage_number + 1)) return pass_on(inputs_, stage_number + 1, micro_batch, std::move(y));
    return pass_on(outputs_, stage_number, micro_batch, std::move(y));
  }
  ArenaTensor dy = last ? ArenaTensor() : take(output_gradients_, stage_number, micro_batch, pass.step);
  ArenaTensor dx =
      fused ? mine.backward(pass, micro_batch, std::move(dy)) : mine.backward_input(pass, micro_batch, std::move(dy));
  if (first) return;
  if (here(stage_number - 1)) return pass_on(output_gradients_, stage_number - 1, micro_batch, std::move(dx));
  pass_on(input_gradients_, stage_number, micro_batch, std::move(dx));
}

void PipelineRun::exchange(std::span<const Instruction> transfers, const PassOf& pass_of, std::int64_t step) {
  Device& device = *context_.device;
  Lane& lane = transfers.front().moves_gradient() ? gradients_ : activations_;
  ++lane.exchanges;
  std::vector<Transfer> sends, receives;
  std::vector<Arrival*> arrivals;
  for (const Instruction& transfer : transfers) {
    const int peer = shape_.rank_of(counterpart(transfer).stage);
    const std::pair key(transfer.stage, transfer.micro_batch);
    CHECK(transfer.moves_gradient() == transfers.front().moves_gradient(), to_string(transfer),
          " joins a transfer of the other kind");
    if (transfer.is_send()) {
      Arrivals& made = transfer.kind == Kind::kSendOutput ? outputs_ : input_gradients_;
      const auto found = made.find(key);
      CHECK(found != made.end(), to_string(transfer), " sends what was not computed");
      sends.push_back({found->second.tensor, peer});
      lane.sent.emplace_back(lane.exchanges, std::move(found->second.tensor));
      made.erase(found);
    } else {
      Arrivals& awaited = transfer.kind == Kind::kReceiveInput ? inputs_ : output_gradients_;
      const Pass pass = pass_of(transfer.micro_batch);
      pass_on(awaited, transfer.stage, transfer.micro_batch,
              pass.activation(stage(transfer.stage).boundary_shape(pass)));
      arrivals.push_back(&awaited.at(key));
      receives.push_back({arrivals.back()->tensor, peer});
    }
  }

  behind(lane, context_.compute);
  const std::string_view name = keep(message_names(transfers));
  traced_call(device, lane.stream, lane.track, std::string(name), step, [&] {
    lane.peers->exchange(lane.stream, sends, receives, {step, name});
  });
  for (Arrival* arrival : arrivals) {
    arrival->lane = &lane;
    arrival->exchange = lane.exchanges;
    arrival->call = name;
    arrival->event = take_event(lane);
    device.record(lane.stream, arrival->event);
  }
}

// The compute stream goes on when all transfers are done.
void PipelineRun::finish_transfers(std::int64_t step) {
  for (Lane* lane : {&activations_, &gradients_}) {
    if (lane->sent.empty()) continue;
    behind(context_.compute, *lane, {step, "what was sent"});
    lane->sent.clear();
  }
}

void PipelineRun::evaluate(const Pass& pass) {
  constexpr std::int64_t kNoStep = -1;
  constexpr int kMicroBatch = 0;
  const PassOf pass_of = [&](int) { return pass; };
  for (int number = pp_.rank(); number < shape_.stages(); number += shape_.ranks) {
    const bool first = number == 0, last = number == shape_.last_stage();
    const Instruction receive{number, Kind::kReceiveInput, kMicroBatch};
    const Instruction send{number, Kind::kSendOutput, kMicroBatch};
    if (!first && !here(number - 1)) exchange({&receive, 1}, pass_of, kNoStep);
    ArenaTensor x = first ? ArenaTensor() : take(inputs_, number, kMicroBatch, kNoStep);
    ArenaTensor y = stage(number).evaluate(pass, std::move(x));
    if (last) break;
    if (here(number + 1)) {
      pass_on(inputs_, number + 1, kMicroBatch, std::move(y));
    } else {
      pass_on(outputs_, number, kMicroBatch, std::move(y));
      exchange({&send, 1}, pass_of, kNoStep);
    }
  }
  finish_transfers(kNoStep);
}

void PipelineRun::swap(int peer, Tensor mine, Tensor theirs, const CallFor& call) {
  const Transfer send{mine, peer}, receive{theirs, peer};
  behind(activations_, context_.compute);
  traced_call(*context_.device, activations_.stream, activations_.track, std::string(call.tensor), call.step, [&] {
    pp_.exchange(activations_.stream, {&send, 1}, {&receive, 1}, call);
  });
  behind(context_.compute, activations_, call);
}

void PipelineRun::share_from_last(Stream stream, Tensor x, const CallFor& call) {
  if (shape_.ranks == 1) return;
  behind(activations_, stream);
  traced_call(*context_.device, activations_.stream, activations_.track, std::string(call.tensor), call.step,
              [&] { pp_.broadcast(activations_.stream, x, shape_.rank_of(shape_.last_stage()), call); });
  behind(stream, activations_, call);
}

}  // namespace trireme
