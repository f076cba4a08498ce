// A communicator whose calls are spans of a track. For a group whose caller has no name for what it does: layers that
// gather rows know their tensor and not the trace.
#pragma once

#include "monitoring/trace.h"
#include "parallel/comm/communicator.h"

namespace trireme {

class TracedCommunicator final : public Communicator {
 public:
  // `inner`, whose streams are `device`'s, and the track's trace outlive this.
  TracedCommunicator(Communicator& inner, Device& device, const Trace::Track& track)
      : inner_(inner), device_(device), track_(track) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }

  void all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor call) override;
  void reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor call) override;
  void all_gather(Stream stream, Tensor to, Tensor from, CallFor call) override;
  void broadcast(Stream stream, Tensor x, int root, CallFor call) override;
  void all_to_all(Stream stream, Tensor to, Tensor from, CallFor call) override;
  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                CallFor call) override;
  std::vector<std::string> gather_to_all(std::string_view message, CallFor call) override;  // no span: outside the step
  // Its calls are no spans.
  std::unique_ptr<Communicator> subgroup(std::span<const int> ranks, std::string_view name) override;

 private:
  Communicator& inner_;
  Device& device_;
  Trace::Track track_;
};

}  // namespace trireme
