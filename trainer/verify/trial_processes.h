// A trial's ranks need not be threads: under mpirun they are processes, and what is tried is what will run. Every
// process makes the same calls; rank 0 leads: it runs what is held against the layouts, and its word is everybody's.
//
// A layout takes the first processes, as many as it has ranks; the others wait for the next one. A process that does
// not get through a trial cannot be brought back, nor can its peers: all of them end (PeerError).
#pragma once

#include <filesystem>
#include <string>

#include "trainer/verify/trial.h"

namespace trireme {

class TrialProcesses {
 public:
  // `world` is of all processes, with its streams on `device`; both outlive this.
  TrialProcesses(Device& device, Communicator& world) : device_(device), world_(world) {}

  int size() const { return world_.size(); }
  bool leads() const { return world_.rank() == 0; }

  // Collective. What run_trial returns, for the ranks of the layout; nothing for others. Throws PeerError when this
  // rank does not get through, or loses a peer.
  Trial run(const Experiment& experiment, const Layout& layout, const TrialOptions& options);

  // Collective: rank 0's text, for all.
  std::string word(const std::string& text, std::string_view about);

 private:
  Device& device_;
  Communicator& world_;
};

}  // namespace trireme
