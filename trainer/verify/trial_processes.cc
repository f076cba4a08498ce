#include "trainer/verify/trial_processes.h"

#include <memory>
#include <numeric>
#include <vector>

#include <fmt/format.h>

#include "monitoring/error.h"

namespace trireme {

Trial TrialProcesses::run(const Experiment& experiment, const Layout& layout, const TrialOptions& options) {
  const int ranks = layout.mesh.ranks();
  CHECK(ranks <= size(), ranks, " ranks on ", size(), " processes");
  if (world_.rank() >= ranks) return {};
  std::vector<int> first(static_cast<std::size_t>(ranks));
  std::iota(first.begin(), first.end(), 0);
  const std::unique_ptr<Communicator> peers = world_.subgroup(first, "trial");
  try {
    return run_trial(experiment, layout, options, device_, *peers);
  } catch (const PeerError&) {
    throw;
  } catch (const std::exception& error) {
    throw PeerError(fmt::format("rank {}: {}", world_.rank(), error.what()));
  }
}

std::string TrialProcesses::word(const std::string& text, std::string_view about) {
  return world_.gather_to_all(leads() ? text : "", {-1, about}).front();
}

}  // namespace trireme
