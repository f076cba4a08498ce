// The published pipeline schedules, as pure functions from sizes to lists. They say when a rank computes what;
// transfers.h adds what it sends and receives.
//
// In all of them the micro-batches of a stage go forward in order and back in the same order, so that gradients add up
// in the order of samples whatever the schedule; and W follows its B, so that the two run fused. A zero-bubble schedule
// would move W.
#pragma once

#include <vector>

#include "parallel/layout.pb.h"
#include "parallel/pipeline/instruction.h"
#include "parallel/pipeline/shape.h"

namespace trireme {

using Schedules = std::vector<Schedule>;  // of the ranks of a pipeline

// All forward, then all back. Y. Huang et al., "GPipe", arXiv:1811.06965; backward in order, as in figure 3 of
// arXiv:2104.04473.
Schedules gpipe(int ranks, int micro_batches);

// PipeDream-flush: rank r goes forward for min(ranks - 1 - r, micro_batches) micro-batches, then one forward, one back.
// D. Narayanan et al., arXiv:2104.04473, figure 4, above; arXiv:2006.09503.
Schedules one_f_one_b(int ranks, int micro_batches);

// The same with `chunks` stages a rank, micro-batches in groups of `ranks`. Figure 4, below; section 2.2. With one
// chunk it is 1F1B.
Schedules interleaved_one_f_one_b(PipelineShape shape, int micro_batches);

// Throws UserError, naming the nearest numbers that would do, where the schedule's definition does not admit so many
// micro-batches: none at all, or, interleaved, no multiple of the ranks. Or more chunks than the schedule has.
void check_admitted(config::Pipeline::Schedule kind, PipelineShape shape, int micro_batches);

// What runs: one of the above, with transfers, those that would deadlock in one exchange. Throws as check_admitted.
Schedules pipeline_schedules(config::Pipeline::Schedule kind, PipelineShape shape, int micro_batches);

}  // namespace trireme
