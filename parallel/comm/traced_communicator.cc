#include "parallel/comm/traced_communicator.h"

#include <string>

#include "parallel/comm/call.h"
#include "parallel/comm/traced_call.h"

namespace trireme {
namespace {

// all_gather of layers.3.mlp.up.weight
std::string span_name(Op op, const CallFor& call) {
  std::string name = name_of(op);
  name += " of ";
  return name.append(call.tensor);
}

}  // namespace

void TracedCommunicator::all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor call) {
  traced_call(device_, stream, track_, span_name(Op::kAllReduce, call), call.step,
              [&] { inner_.all_reduce(stream, x, reduction, call); });
}

void TracedCommunicator::reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor call) {
  traced_call(device_, stream, track_, span_name(Op::kReduceScatter, call), call.step,
              [&] { inner_.reduce_scatter(stream, to, from, call); });
}

void TracedCommunicator::all_gather(Stream stream, Tensor to, Tensor from, CallFor call) {
  traced_call(device_, stream, track_, span_name(Op::kAllGather, call), call.step,
              [&] { inner_.all_gather(stream, to, from, call); });
}

void TracedCommunicator::broadcast(Stream stream, Tensor x, int root, CallFor call) {
  traced_call(device_, stream, track_, span_name(Op::kBroadcast, call), call.step,
              [&] { inner_.broadcast(stream, x, root, call); });
}

void TracedCommunicator::all_to_all(Stream stream, Tensor to, Tensor from, CallFor call) {
  traced_call(device_, stream, track_, span_name(Op::kAllToAll, call), call.step,
              [&] { inner_.all_to_all(stream, to, from, call); });
}

void TracedCommunicator::exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                                  CallFor call) {
  traced_call(device_, stream, track_, span_name(Op::kExchange, call), call.step,
              [&] { inner_.exchange(stream, sends, receives, call); });
}

std::vector<std::string> TracedCommunicator::gather_to_all(std::string_view message, CallFor call) {
  return inner_.gather_to_all(message, call);
}

std::unique_ptr<Communicator> TracedCommunicator::subgroup(std::span<const int> ranks, std::string_view name) {
  return inner_.subgroup(ranks, name);
}

}  // namespace trireme
