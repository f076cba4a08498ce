#include "parallel/tensor/replica_sums.h"

namespace trireme {

ReplicaSums::ReplicaSums(std::span<const ParamSpec> specs, const AxisPlaces& places, Communicator& tp) {
  for (const ParamSpec& spec : specs) {
    const AxisPlace replica = replicas(spec, Axis::kTp, places);
    Communicator* group = nullptr;
    if (replica.parts == tp.size()) {
      group = tp.size() > 1 ? &tp : nullptr;
    } else if (replica.parts > 1) {
      std::unique_ptr<Communicator>& made = made_[replica.parts];
      if (made == nullptr) {
        std::vector<int> ranks;
        for (std::int64_t i = 0; i < replica.parts; ++i)
          ranks.push_back(static_cast<int>(tp.rank() - replica.index + i));
        made = tp.subgroup(ranks, "tp replicas");
      }
      group = made.get();
    }
    group_of_.push_back(group);
  }
}

std::vector<ReplicaSums::Run> ReplicaSums::runs(std::size_t first, std::size_t last) const {
  std::vector<Run> runs;
  for (std::size_t i = first; i < last; ++i) {
    if (group_of_.at(i) == nullptr) continue;
    if (!runs.empty() && runs.back().last == i && runs.back().group == group_of_[i])
      runs.back().last = i + 1;
    else
      runs.push_back({i, i + 1, group_of_[i]});
  }
  return runs;
}

}  // namespace trireme
