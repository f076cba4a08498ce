// What a step will say to its peers, written down without saying it: for shape-only runs, for `check`, and for tests
// that hold the list against a real run's, call for call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"

namespace trireme {

struct RecordedCall {
  std::string group;  // "world", "dp", ...
  std::string op;     // "all_reduce", ...
  std::int64_t step = -1;
  std::string tensor;
  std::size_t bytes = 0;  // of this rank's tensor (exchange: sent and received)
  bool operator==(const RecordedCall&) const = default;
};

// Forwards to `inner` if there is one; otherwise stands for rank `rank` of `size` and does nothing. Its subgroups write
// to the same list.
class RecordingCommunicator : public Communicator {
 public:
  RecordingCommunicator(int rank, int size) : rank_(rank), size_(size) {}
  explicit RecordingCommunicator(Communicator& inner) : inner_(&inner), rank_(inner.rank()), size_(inner.size()) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor call) override;
  void reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor call) override;
  void all_gather(Stream stream, Tensor to, Tensor from, CallFor call) override;
  void broadcast(Stream stream, Tensor x, int root, CallFor call) override;
  void all_to_all(Stream stream, Tensor to, Tensor from, CallFor call) override;
  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                CallFor call) override;
  std::vector<std::string> gather_to_all(std::string_view message, CallFor call) override;
  std::unique_ptr<Communicator> subgroup(std::span<const int> ranks, std::string_view name) override;

  const std::vector<RecordedCall>& calls() const { return *calls_; }

 private:
  void note(const char* op, std::size_t bytes, const CallFor& call);

  std::string name_ = "world";
  Communicator* inner_ = nullptr;
  std::unique_ptr<Communicator> owned_;  // a subgroup's inner
  int rank_;
  int size_;
  std::shared_ptr<std::vector<RecordedCall>> calls_ = std::make_shared<std::vector<RecordedCall>>();
};

}  // namespace trireme
