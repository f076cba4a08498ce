#include "parallel/comm/call.h"

#include <algorithm>
#include <cstring>

namespace trireme {

const char* name_of(Op op) {
  switch (op) {
    case Op::kNone:
      return "no call";
    case Op::kAllReduce:
      return "all_reduce";
    case Op::kReduceScatter:
      return "reduce_scatter";
    case Op::kAllGather:
      return "all_gather";
    case Op::kBroadcast:
      return "broadcast";
    case Op::kAllToAll:
      return "all_to_all";
    case Op::kExchange:
      return "exchange";
    case Op::kGatherToAll:
      return "gather_to_all";
  }
  return "?";
}

Call make_call(Op op, const CallFor& what, DType dtype, std::uint64_t bytes, std::int32_t detail) {
  Call call;
  call.op = op;
  call.detail = detail;
  call.dtype = static_cast<std::int32_t>(dtype);
  call.step = what.step;
  call.bytes = bytes;
  const std::string_view name = what.tensor;
  const std::size_t kept = std::min(name.size(), Call::kTensorBytes - 1);
  name.substr(name.size() - kept).copy(call.tensor, kept);
  return call;
}

Members Members::world(int size) {
  Members all{"world", {}};
  for (int rank = 0; rank < size; ++rank) all.ranks.push_back(rank);
  return all;
}

Members Members::subgroup(std::span<const int> members, std::string_view name) const {
  Members some{std::string(name), {}};
  for (int member : members) some.ranks.push_back(ranks.at(static_cast<std::size_t>(member)));
  return some;
}

std::string Members::rank(int member) const {
  return "rank " + std::to_string(ranks.at(static_cast<std::size_t>(member)));
}

std::string Members::ranks_of(int member, int another) const {
  const auto [low, high] =
      std::minmax(ranks.at(static_cast<std::size_t>(member)), ranks.at(static_cast<std::size_t>(another)));
  return "ranks " + std::to_string(low) + " and " + std::to_string(high);
}

std::string to_string(const Call& call, const Members& members) {
  if (call.op == Op::kNone) return name_of(call.op);
  std::string text = name_of(call.op);
  text += " of \"" + std::string(call.tensor, strnlen(call.tensor, Call::kTensorBytes)) + "\"";
  if (call.op != Op::kGatherToAll && call.op != Op::kExchange) {
    text += " (" + std::string(name_of(static_cast<DType>(call.dtype))) + ", " + std::to_string(call.bytes) + " bytes";
    if (call.op == Op::kBroadcast) text += ", from " + members.rank(call.detail);
    if (call.op == Op::kAllReduce && call.detail == static_cast<std::int32_t>(Reduction::kMax)) text += ", maximum";
    text += ")";
  }
  text += call.step >= 0 ? " in step " + std::to_string(call.step) : " outside of a step";
  return members.group == "world" ? text : text + " in " + members.group;
}

void check_all_reduce(const Tensor& x, Reduction reduction) {
  const bool good =
      x.dtype == DType::kF32 || x.dtype == DType::kI64 || (x.dtype == DType::kI32 && reduction == Reduction::kMax);
  CHECK(good, "all_reduce does not ", reduction == Reduction::kMax ? "take the maximum of " : "sum ", name_of(x.dtype));
}

void check_reduce_scatter(const Tensor& to, const Tensor& from, int size) {
  CHECK(from.dtype == DType::kF32 && to.dtype == DType::kF32, "reduce_scatter of ", name_of(from.dtype), " to ",
        name_of(to.dtype));
  CHECK(from.elements() == to.elements() * size, "reduce_scatter of ", to_string(from.shape), " to ",
        to_string(to.shape), " by ", size, " ranks");
}

void check_gather(const Tensor& to, const Tensor& from, int size) {
  CHECK(from.dtype == to.dtype, "all_gather of ", name_of(from.dtype), " to ", name_of(to.dtype));
  CHECK(to.elements() == from.elements() * size, "all_gather of ", to_string(from.shape), " to ", to_string(to.shape),
        " by ", size, " ranks");
}

void check_all_to_all(const Tensor& to, const Tensor& from, int size) {
  CHECK(from.dtype == to.dtype, "all_to_all of ", name_of(from.dtype), " to ", name_of(to.dtype));
  CHECK(to.elements() == from.elements() && from.elements() % size == 0, "all_to_all of ", to_string(from.shape),
        " to ", to_string(to.shape), " by ", size, " ranks");
}

void check_peers(std::span<const Transfer> transfers, int size) {
  for (const Transfer& transfer : transfers)
    CHECK(transfer.peer >= 0 && transfer.peer < size, "peer ", transfer.peer, " of ", size);
}

}  // namespace trireme
