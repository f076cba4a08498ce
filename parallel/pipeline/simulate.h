// A schedule that hangs should hang here, in a millisecond on one CPU, and say where; and what a pipeline wastes should
// be known before it is bought. This runs the lists of all ranks as the interpreter does, with costs in place of work.
//
// The model: each rank has a stream for computing and two for transfers, one for activations (S, R) and one for
// gradients (s, r): in one, an activation that is late would hold up gradients that are there. Sends are rendezvous: a
// transfer begins when both sides have come to it, which a side does when what is before it in its list is computed and
// the stream's earlier transfers are done. Joined transfers are come to together and done together. Computing waits for
// what it receives, not for what it sends. Messages of one kind from one rank to another match in the order in which
// they are sent and received. (Were computing to wait for sends too, ranks would deadlock in more places, never in
// fewer.) Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parallel/pipeline/schedules.h"

namespace trireme {

// Of one instruction, in any unit of time. A transfer's is from the moment when both sides have come to it.
struct Costs {
  double forward = 1;
  double backward_input = 1;
  double backward_weight = 1;
  double transfer = 0;
};

struct Deadlock {
  std::vector<std::size_t> at;   // rank -> its first instruction that cannot finish, or the end of its list
  std::vector<std::string> why;  // rank -> what that waits for
};

struct Slot {  // of computing
  Instruction instruction;
  double begin = 0;
  double end = 0;
};

struct Simulation {
  std::optional<Deadlock> deadlock;  // what follows then tells how far it got
  double makespan = 0;
  double bubble = 0;            // the part of ranks x makespan in which nothing is computed
  std::vector<int> peak_saved;  // rank -> most (stage, micro-batch) pairs that are forward but not yet through W
  std::vector<std::vector<Slot>> timeline;  // rank -> in order
};

// `schedules`: of shape.ranks ranks, with their transfers.
Simulation simulate(PipelineShape shape, const Schedules& schedules, const Costs& costs);

// Where ranks would wait for each other in a circle, each of them that stands at a send joins it with what it receives
// next of that kind, moved ahead of what is computed between; all others stay apart. Throws UserError with
// deadlock_report's picture where joining does not help.
Schedules join_deadlocks(PipelineShape shape, const Schedules& schedules);

// Every rank's list about the place where it stands, which is marked, and why.
std::string deadlock_report(const Schedules& schedules, const Deadlock& deadlock);

}  // namespace trireme
