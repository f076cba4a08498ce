#include "trainer/verify/rank_trial.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "trainer/verify/whole.h"

namespace trireme {
namespace {

void add_to(WholeAssembly& assembly, const proto::HeldValues& held, const std::vector<ParamSpec>& specs, int rank) {
  Box box;
  for (const std::int64_t begin : held.begin()) box.begin.append(begin);
  for (const std::int64_t size : held.size()) box.size.append(size);
  assembly.add(specs.at(static_cast<std::size_t>(held.parameter())), box, {held.values().begin(), held.values().end()},
               rank);
}

}  // namespace

proto::HeldValues held_values(const std::vector<ParamSpec>& specs, const HeldTensor& held,
                              const std::vector<float>& values, int step) {
  const auto spec =
      std::find_if(specs.begin(), specs.end(), [&](const ParamSpec& each) { return each.name == held.spec->name; });
  CHECK(spec != specs.end(), held.spec->name, " is not of the model");
  proto::HeldValues written;
  written.set_step(step);
  written.set_parameter(static_cast<int>(spec - specs.begin()));
  for (int dim = 0; dim < held.box.dims(); ++dim) {
    written.add_begin(held.box.begin[dim]);
    written.add_size(held.box.size[dim]);
  }
  written.mutable_values()->Assign(values.begin(), values.end());
  return written;
}

Trial put_together(std::span<const proto::RankTrial> shares, const std::vector<ParamSpec>& specs, int steps) {
  Trial trial;
  trial.losses.resize(static_cast<std::size_t>(steps));
  trial.norms.resize(trial.losses.size());
  std::vector<WholeAssembly> gradients(trial.losses.size());
  WholeAssembly weights;
  bool sound = true;
  std::vector<int> reporters(trial.losses.size(), -1);  // the first rank that got through the step
  int validated = -1;                                   // the first that got to the validation loss
  for (int rank = 0; rank < static_cast<int>(shares.size()); ++rank) {
    const proto::RankTrial& share = shares[static_cast<std::size_t>(rank)];
    if (share.has_error()) {
      sound = false;
      trial.problems.push_back(fmt::format("rank {}: {}", rank, share.error()));
    }
    for (int step = 0; step < share.losses_size(); ++step) {
      const auto at = static_cast<std::size_t>(step);
      const double loss = share.losses(step);
      const double norm = share.norms(step);
      if (reporters[at] < 0) {
        reporters[at] = rank;
        trial.losses[at] = loss;
        trial.norms[at] = norm;
      } else if (trial.losses[at] != loss || trial.norms[at] != norm) {
        trial.problems.push_back(fmt::format("rank {} reports loss {} and norm {} of step {}, rank {} {} and {}", rank,
                                             loss, norm, step + 1, reporters[at], trial.losses[at], trial.norms[at]));
      }
    }
    if (share.has_validation_loss()) {
      if (validated < 0) {
        validated = rank;
        trial.validation_loss = share.validation_loss();
      } else if (trial.validation_loss != share.validation_loss()) {
        trial.problems.push_back(fmt::format("rank {} reports validation loss {}, rank {} {}", rank,
                                             share.validation_loss(), validated, trial.validation_loss));
      }
    }
    trial.problems.insert(trial.problems.end(), share.skipped().begin(), share.skipped().end());
    for (const proto::HeldValues& held : share.gradients())
      add_to(gradients[static_cast<std::size_t>(held.step())], held, specs, rank);
    for (const proto::HeldValues& held : share.weights()) add_to(weights, held, specs, rank);
  }

  const auto take = [&](WholeAssembly& from, const std::string& what) {
    for (const std::string& each : from.disagreements()) trial.problems.push_back(fmt::format("{} of {}", what, each));
    if (sound)
      for (const std::string& each : from.gaps(specs)) trial.problems.push_back(fmt::format("{} of {}", what, each));
    return from.take();
  };
  for (std::size_t step = 0; step < gradients.size(); ++step)
    trial.gradients.push_back(take(gradients[step], fmt::format("step {}'s gradient", step + 1)));
  trial.weights = take(weights, "the weights");
  return trial;
}

}  // namespace trireme
