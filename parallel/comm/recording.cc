#include "parallel/comm/recording.h"

#include <algorithm>

#include "monitoring/check.h"

namespace trireme {

void RecordingCommunicator::note(const char* op, std::size_t bytes, const CallFor& call) {
  calls_->push_back({name_, op, call.step, std::string(call.tensor), bytes});
}

void RecordingCommunicator::all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor call) {
  note("all_reduce", x.bytes(), call);
  if (inner_ != nullptr) inner_->all_reduce(stream, x, reduction, call);
}

void RecordingCommunicator::reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor call) {
  note("reduce_scatter", from.bytes(), call);
  if (inner_ != nullptr) inner_->reduce_scatter(stream, to, from, call);
}

void RecordingCommunicator::all_gather(Stream stream, Tensor to, Tensor from, CallFor call) {
  note("all_gather", from.bytes(), call);
  if (inner_ != nullptr) inner_->all_gather(stream, to, from, call);
}

void RecordingCommunicator::broadcast(Stream stream, Tensor x, int root, CallFor call) {
  note("broadcast", x.bytes(), call);
  if (inner_ != nullptr) inner_->broadcast(stream, x, root, call);
}

void RecordingCommunicator::all_to_all(Stream stream, Tensor to, Tensor from, CallFor call) {
  note("all_to_all", from.bytes(), call);
  if (inner_ != nullptr) inner_->all_to_all(stream, to, from, call);
}

void RecordingCommunicator::exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                                     CallFor call) {
  std::size_t bytes = 0;
  for (const Transfer& transfer : sends) bytes += transfer.tensor.bytes();
  for (const Transfer& transfer : receives) bytes += transfer.tensor.bytes();
  note("exchange", bytes, call);
  if (inner_ != nullptr) inner_->exchange(stream, sends, receives, call);
}

std::vector<std::string> RecordingCommunicator::gather_to_all(std::string_view message, CallFor call) {
  note("gather_to_all", message.size(), call);
  if (inner_ != nullptr) return inner_->gather_to_all(message, call);
  return std::vector<std::string>(static_cast<std::size_t>(size_), std::string(message));
}

std::unique_ptr<Communicator> RecordingCommunicator::subgroup(std::span<const int> ranks, std::string_view name) {
  const auto mine = std::find(ranks.begin(), ranks.end(), rank_);
  CHECK(mine != ranks.end(), "rank ", rank_, " is not in its group ", name);
  auto group =
      std::make_unique<RecordingCommunicator>(static_cast<int>(mine - ranks.begin()), static_cast<int>(ranks.size()));
  if (inner_ != nullptr) {
    group->owned_ = inner_->subgroup(ranks, name);
    group->inner_ = group->owned_.get();
  }
  group->name_ = name;
  group->calls_ = calls_;
  return group;
}

}  // namespace trireme
