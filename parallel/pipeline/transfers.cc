#include "parallel/pipeline/transfers.h"

namespace trireme {
namespace {

using Kind = Instruction::Kind;

}  // namespace

Schedules insert_transfers(PipelineShape shape, const Schedules& schedules) {
  const auto apart = [&](int stage, int other) { return shape.rank_of(stage) != shape.rank_of(other); };
  Schedules with;
  for (const Schedule& schedule : schedules) {
    Schedule& mine = with.emplace_back();
    for (std::size_t i = 0; i < schedule.size(); ++i) {
      const auto [stage, kind, micro_batch, joined] = schedule[i];
      const bool from_before = stage > 0 && apart(stage, stage - 1);
      const bool from_after = stage < shape.last_stage() && apart(stage, stage + 1);
      if (kind == Kind::kForward && from_before) mine.push_back({stage, Kind::kReceiveInput, micro_batch});
      if (kind == Kind::kBackwardInput && from_after) mine.push_back({stage, Kind::kReceiveGradient, micro_batch});
      mine.push_back(schedule[i]);
      if (kind == Kind::kForward && from_after) mine.push_back({stage, Kind::kSendOutput, micro_batch});
      if (kind == Kind::kBackwardInput && from_before) {
        if (fused_backward(schedule, i)) mine.push_back(schedule[++i]);
        mine.push_back({stage, Kind::kSendGradient, micro_batch});
      }
    }
  }
  return with;
}

}  // namespace trireme
