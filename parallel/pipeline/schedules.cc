#include "parallel/pipeline/schedules.h"

#include <algorithm>
#include <string>

#include "monitoring/check.h"
#include "monitoring/error.h"
#include "parallel/pipeline/simulate.h"
#include "parallel/pipeline/transfers.h"

namespace trireme {
namespace {

using Kind = Instruction::Kind;

void add_forward(Schedule& schedule, int stage, int micro_batch) {
  schedule.push_back({stage, Kind::kForward, micro_batch});
}

void add_backward(Schedule& schedule, int stage, int micro_batch) {
  schedule.push_back({stage, Kind::kBackwardInput, micro_batch});
  schedule.push_back({stage, Kind::kBackwardWeight, micro_batch});
}

}  // namespace

Schedules gpipe(int ranks, int micro_batches) {
  Schedules schedules(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    Schedule& mine = schedules[static_cast<std::size_t>(rank)];
    for (int m = 0; m < micro_batches; ++m) add_forward(mine, rank, m);
    for (int m = 0; m < micro_batches; ++m) add_backward(mine, rank, m);
  }
  return schedules;
}

Schedules one_f_one_b(int ranks, int micro_batches) {
  Schedules schedules(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    Schedule& mine = schedules[static_cast<std::size_t>(rank)];
    const int ahead = std::min(ranks - 1 - rank, micro_batches);
    for (int m = 0; m < ahead; ++m) add_forward(mine, rank, m);
    for (int m = ahead; m < micro_batches; ++m) {
      add_forward(mine, rank, m);
      add_backward(mine, rank, m - ahead);
    }
    for (int m = micro_batches - ahead; m < micro_batches; ++m) add_backward(mine, rank, m);
  }
  return schedules;
}

Schedules interleaved_one_f_one_b(PipelineShape shape, int micro_batches) {
  if (shape.chunks == 1) return one_f_one_b(shape.ranks, micro_batches);
  const int passes = micro_batches * shape.chunks;  // forward, of one rank; as many back
  const int round = shape.ranks * shape.chunks;     // passes that a group of `ranks` micro-batches takes
  const auto chunk_of = [&](int pass) { return pass % round / shape.ranks; };
  const auto micro_batch_of = [&](int pass) { return pass / round * shape.ranks + pass % shape.ranks; };

  Schedules schedules(static_cast<std::size_t>(shape.ranks));
  for (int rank = 0; rank < shape.ranks; ++rank) {
    Schedule& mine = schedules[static_cast<std::size_t>(rank)];
    const auto forward = [&](int pass) {
      add_forward(mine, shape.stage_of(rank, chunk_of(pass)), micro_batch_of(pass));
    };
    const auto backward = [&](int pass) {
      add_backward(mine, shape.stage_of(rank, shape.chunks - 1 - chunk_of(pass)), micro_batch_of(pass));
    };
    const int ahead = std::min(2 * (shape.ranks - 1 - rank) + (shape.chunks - 1) * shape.ranks, passes);
    for (int pass = 0; pass < ahead; ++pass) forward(pass);
    for (int pass = ahead; pass < passes; ++pass) {
      forward(pass);
      backward(pass - ahead);
    }
    for (int pass = passes - ahead; pass < passes; ++pass) backward(pass);
  }
  return schedules;
}

void check_admitted(config::Pipeline::Schedule kind, PipelineShape shape, int micro_batches) {
  CHECK(shape.ranks >= 1 && shape.chunks >= 1, shape.ranks, " ranks, ", shape.chunks, " chunks");
  const bool interleaved = kind == config::Pipeline::interleaved_1f1b;
  if (shape.chunks > 1 && !interleaved)
    throw UserError(std::to_string(shape.chunks) +
                    " chunks a rank are the interleaved-1f1b schedule's; the others have 1");
  if (micro_batches < 1) throw UserError("a schedule needs at least 1 micro-batch");
  const int multiple = interleaved ? shape.ranks : 1;
  if (micro_batches % multiple == 0) return;
  const int below = micro_batches / multiple * multiple, above = below + multiple;
  std::string nearest = std::to_string(above);
  if (below > 0) nearest = std::to_string(below) + " or " + nearest;
  throw UserError("interleaved-1f1b takes micro-batches in groups of as many as there are ranks in the pipeline: of " +
                  std::to_string(multiple) + ", so not " + std::to_string(micro_batches) + " but " + nearest);
}

Schedules pipeline_schedules(config::Pipeline::Schedule kind, PipelineShape shape, int micro_batches) {
  check_admitted(kind, shape, micro_batches);
  const auto schedules = [&] {
    switch (kind) {
      case config::Pipeline::gpipe:
        return gpipe(shape.ranks, micro_batches);
      case config::Pipeline::one_f_one_b:
        return one_f_one_b(shape.ranks, micro_batches);
      case config::Pipeline::interleaved_1f1b:
        break;
    }
    return interleaved_one_f_one_b(shape, micro_batches);
  };
  return join_deadlocks(shape, insert_transfers(shape, schedules()));
}

}  // namespace trireme
