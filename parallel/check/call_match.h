// Whether the calls of all ranks fit together is known only when they have been made, unless it is found out before.
// Here the lists that the ranks' shape-only steps wrote down are run against each other: collectives of a group must be
// equal on all members, transfers must meet what the other side expects, and no rank may wait for ever.
//
// Sends are taken as rendezvous: a transfer happens when both sides have come to it, whatever any back end buffers.
// Calls of one stream come one after another; across streams a call waits for what its CallFrontier says. Nothing in
// this depends on timing: what a call waits for does not change with the order in which others proceed, so one order of
// running tells of all, and a list that runs to its end here cannot deadlock.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "parallel/comm/recording.h"

namespace trireme {

// What one rank does, in the order in which it does it. Ranks that do the same may share the lists; `groups` are its
// own, and name each group that its calls name.
struct RankCalls {
  int rank = 0;
  std::span<const RecordedCall> calls;
  std::span<const CallFrontier> before;
  std::span<const RecordedGroup> groups;
};

// Empty if everything matches and ends. Otherwise what does not match, or who waits where for whom, naming rank, call
// and tensor. Members of groups that are not among `ranks` are left out: a group is checked over those that are.
std::vector<std::string> call_problems(std::span<const RankCalls> ranks);

}  // namespace trireme
