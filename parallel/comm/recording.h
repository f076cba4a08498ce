// What a step will say to its peers, written down without saying it: for shape-only runs, for `check`, and for tests
// that hold the list against a real run's, call for call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/comm/recording_device.h"

namespace trireme {

struct RecordedTransfer {
  int peer = 0;  // member of the group
  std::size_t bytes = 0;
  DType dtype = DType::kF32;
  bool operator==(const RecordedTransfer&) const = default;
};

struct RecordedCall {
  std::string group;  // "world", "dp", ...
  std::string op;     // "all_reduce", ...
  std::int64_t step = -1;
  std::string tensor;
  std::size_t bytes = 0;  // of this rank's tensor (exchange: sent and received)
  DType dtype = DType::kF32;
  int detail = 0;  // the root of a broadcast, a member of the group; the Reduction of an all_reduce
  int stream = 0;  // streams are numbered as they are first used
  std::vector<RecordedTransfer> sends{}, receives{};
  bool operator==(const RecordedCall&) const = default;
};
// all_reduce of "layers.3.mlp.up.weight" (fp32, 4096 bytes) in step 12 in dp
std::string to_string(const RecordedCall& call);

struct RecordedGroup {
  std::string name;
  std::vector<int> ranks;  // of the world
};

// Forwards to `inner` if there is one; otherwise stands for rank `rank` of `size` and does nothing. Its subgroups write
// to the same list. With a RecordingDevice, whose streams the calls stand on, it also writes down what comes before
// each.
class RecordingCommunicator : public Communicator {
 public:
  RecordingCommunicator(int rank, int size, RecordingDevice* device = nullptr);
  explicit RecordingCommunicator(Communicator& inner);

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

  const std::vector<RecordedCall>& calls() const { return list_->calls; }
  const std::vector<CallFrontier>& before() const { return list_->before; }   // call by call, with a RecordingDevice
  const std::vector<RecordedGroup>& groups() const { return list_->groups; }  // the world first

 private:
  struct List {
    std::vector<RecordedCall> calls;
    std::vector<CallFrontier> before;
    std::vector<RecordedGroup> groups;
    std::vector<void*> streams;
    RecordingDevice* device = nullptr;
  };

  void note(Stream stream, const char* op, const Tensor& tensor, int detail, const CallFor& call);
  void note(Stream stream, RecordedCall call);

  Communicator* inner_ = nullptr;
  std::unique_ptr<Communicator> owned_;  // a subgroup's inner
  int rank_;
  int size_;
  std::size_t group_ = 0;
  std::shared_ptr<List> list_ = std::make_shared<List>();
};

}  // namespace trireme
