#include "parallel/comm/recording.h"

#include <algorithm>
#include <numeric>

#include "monitoring/check.h"
#include "parallel/comm/call.h"

namespace trireme {

std::string to_string(const RecordedCall& call) {
  std::string text =
      call.op + " of \"" + call.tensor + "\" (" + name_of(call.dtype) + ", " + std::to_string(call.bytes) + " bytes";
  if (call.op == name_of(Op::kBroadcast)) text += ", from member " + std::to_string(call.detail);
  if (call.op == name_of(Op::kAllReduce) && call.detail == static_cast<int>(Reduction::kMax)) text += ", maximum";
  text += ") in step " + std::to_string(call.step);
  return call.group == "world" ? text : text + " in " + call.group;
}

RecordingCommunicator::RecordingCommunicator(int rank, int size, RecordingDevice* device) : rank_(rank), size_(size) {
  list_->device = device;
  std::vector<int> all(static_cast<std::size_t>(size));
  std::iota(all.begin(), all.end(), 0);
  list_->groups.push_back({"world", std::move(all)});
}

RecordingCommunicator::RecordingCommunicator(Communicator& inner) : RecordingCommunicator(inner.rank(), inner.size()) {
  inner_ = &inner;
}

void RecordingCommunicator::note(Stream stream, RecordedCall call) {
  const auto known = std::find(list_->streams.begin(), list_->streams.end(), stream.handle);
  call.stream = static_cast<int>(known - list_->streams.begin());
  if (known == list_->streams.end()) list_->streams.push_back(stream.handle);
  call.group = list_->groups[group_].name;
  if (list_->device != nullptr)
    list_->before.push_back(list_->device->put(stream, static_cast<int>(list_->calls.size())));
  list_->calls.push_back(std::move(call));
}

void RecordingCommunicator::note(Stream stream, const char* op, const Tensor& tensor, int detail, const CallFor& call) {
  note(stream, {.group = {},
                .op = op,
                .step = call.step,
                .tensor = std::string(call.tensor),
                .bytes = tensor.bytes(),
                .dtype = tensor.dtype,
                .detail = detail});
}

void RecordingCommunicator::all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor call) {
  check_all_reduce(x, reduction);
  note(stream, name_of(Op::kAllReduce), x, static_cast<int>(reduction), call);
  if (inner_ != nullptr) inner_->all_reduce(stream, x, reduction, call);
}

void RecordingCommunicator::reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor call) {
  check_reduce_scatter(to, from, size_);
  note(stream, name_of(Op::kReduceScatter), from, 0, call);
  if (inner_ != nullptr) inner_->reduce_scatter(stream, to, from, call);
}

void RecordingCommunicator::all_gather(Stream stream, Tensor to, Tensor from, CallFor call) {
  check_gather(to, from, size_);
  note(stream, name_of(Op::kAllGather), from, 0, call);
  if (inner_ != nullptr) inner_->all_gather(stream, to, from, call);
}

void RecordingCommunicator::broadcast(Stream stream, Tensor x, int root, CallFor call) {
  note(stream, name_of(Op::kBroadcast), x, root, call);
  if (inner_ != nullptr) inner_->broadcast(stream, x, root, call);
}

void RecordingCommunicator::all_to_all(Stream stream, Tensor to, Tensor from, CallFor call) {
  check_all_to_all(to, from, size_);
  note(stream, name_of(Op::kAllToAll), from, 0, call);
  if (inner_ != nullptr) inner_->all_to_all(stream, to, from, call);
}

void RecordingCommunicator::exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                                     CallFor call) {
  check_peers(sends, size_);
  check_peers(receives, size_);
  RecordedCall made{.group = {}, .op = name_of(Op::kExchange), .step = call.step, .tensor = std::string(call.tensor)};
  const auto all = [&](std::span<const Transfer> transfers, std::vector<RecordedTransfer>& to) {
    for (const Transfer& transfer : transfers) {
      to.push_back({transfer.peer, transfer.tensor.bytes(), transfer.tensor.dtype});
      made.bytes += transfer.tensor.bytes();
    }
  };
  all(sends, made.sends);
  all(receives, made.receives);
  note(stream, std::move(made));
  if (inner_ != nullptr) inner_->exchange(stream, sends, receives, call);
}

// Made by the caller itself, outside of the step: it has no stream.
std::vector<std::string> RecordingCommunicator::gather_to_all(std::string_view message, CallFor call) {
  list_->calls.push_back({.group = list_->groups[group_].name,
                          .op = name_of(Op::kGatherToAll),
                          .step = call.step,
                          .tensor = std::string(call.tensor),
                          .bytes = message.size()});
  CHECK(list_->device == nullptr, "a step gathers messages: ", to_string(list_->calls.back()));
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
  group->list_ = list_;
  group->group_ = list_->groups.size();
  RecordedGroup made{std::string(name), {}};
  for (int member : ranks) made.ranks.push_back(list_->groups[group_].ranks.at(static_cast<std::size_t>(member)));
  list_->groups.push_back(std::move(made));
  return group;
}

}  // namespace trireme
