// What every rank of a communicator must agree on when they meet, as plain bytes: it lies in shared memory, travels
// ahead of a message, and is what an error prints.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/core/tensor.h"
#include "parallel/comm/communicator.h"

namespace trireme {

enum class Op : std::int32_t {
  kNone,
  kAllReduce,
  kReduceScatter,
  kAllGather,
  kBroadcast,
  kAllToAll,
  kExchange,
  kGatherToAll,
};
const char* name_of(Op op);  // "all_reduce"

struct Call {
  static constexpr std::size_t kTensorBytes = 88;  // longer names keep their end, which tells them apart

  Op op = Op::kNone;
  std::int32_t detail = 0;  // the root of a broadcast; the Reduction of an all_reduce
  std::int32_t dtype = 0;
  std::int32_t number = 0;  // of the group's collectives, where they are counted; 0: they are not
  std::int64_t step = -1;
  std::uint64_t bytes = 0;  // of the tensor each rank brings; 0 where ranks may bring different ones
  char tensor[kTensorBytes] = {};

  bool operator==(const Call&) const = default;
};
static_assert(sizeof(Call) == 120);

Call make_call(Op op, const CallFor& what, DType dtype, std::uint64_t bytes, std::int32_t detail = 0);

// The ranks of a group as people know them: by their numbers in the world.
struct Members {
  std::string group;       // "world", "dp", ...
  std::vector<int> ranks;  // member -> rank of the world

  static Members world(int size);
  Members subgroup(std::span<const int> members, std::string_view name) const;
  int size() const { return static_cast<int>(ranks.size()); }
  std::string rank(int member) const;                   // "rank 5"
  std::string ranks_of(int member, int another) const;  // "ranks 1 and 5", the smaller first
};

// all_reduce of "layers.3.mlp.up.weight" (fp32, 4096 bytes) in step 12 in dp
std::string to_string(const Call& call, const Members& members);

// CHECKs the shapes and dtypes that one rank can judge alone.
void check_all_reduce(const Tensor& x, Reduction reduction);
void check_reduce_scatter(const Tensor& to, const Tensor& from, int size);
void check_gather(const Tensor& to, const Tensor& from, int size);  // to is size times from
void check_all_to_all(const Tensor& to, const Tensor& from, int size);
void check_peers(std::span<const Transfer> transfers, int size);

}  // namespace trireme
