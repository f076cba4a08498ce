// What NCCL's operations do, as steps that never wait: each collective is a few exchanges of messages with arithmetic
// between them. Before any data all ranks tell one another what they are about to do, so that a mismatch is found on
// every rank, also where no data would have met.
//
// Sums are made in the order of ranks, in fp32 for fp16 and bf16, and rounded once; the real NCCL's order depends on
// its rings and trees. Operations of one communicator run one after another, in the order in which they were called.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include <nccl.h>

#include "tests/gpu/nccl/exchange.h"
#include "tests/gpu/runtime/gpu.h"

namespace trireme::gpu::nccl {

enum class Kind { kAllReduce, kReduceScatter, kAllGather, kBroadcast, kReduce, kSend, kReceive };
const char* name(Kind kind);
const char* name(ncclDataType_t type);
std::size_t bytes_of(ncclDataType_t type);  // 0: a type that is not known here

struct Task {
  Kind kind = Kind::kAllReduce;
  const void* from = nullptr;
  void* to = nullptr;
  std::size_t count = 0;  // as the call has it
  ncclDataType_t type = ncclFloat;
  ncclRedOp_t op = ncclSum;
  int peer = 0;  // root, or the other side of a send or receive
};

// What was called within one group on one communicator: sends and receives together, then the collectives in turn.
class Running {
 public:
  Running(ncclComm* comm, std::vector<Task> tasks, std::uint64_t ticket);
  Progress poll(Gpu& gpu, const Operation& operation);

 private:
  struct Step {
    std::function<void(Exchange&)> begin{};
    std::function<void()> finish{};
  };
  using Bytes = std::shared_ptr<std::vector<std::byte>>;
  void abandon(Gpu& gpu, const Operation& operation) const;
  void plan(Gpu& gpu, const Operation& operation);
  void plan_point_to_point(Gpu& gpu, const Operation& operation);
  void plan_collective(Gpu& gpu, const Operation& operation, const Task& task, std::uint64_t number);
  void plan_gather(const Notice& notice, const Bytes& all, std::size_t part);
  void plan_parts(const Notice& notice, const Bytes& mine, const Bytes& result, const Task& task,
                  std::vector<std::size_t> bounds, bool only_to_root);

  ncclComm* const comm_;
  const std::vector<Task> tasks_;
  const std::uint64_t ticket_;
  bool planned_ = false;
  bool silent_ = false;  // as TRIREME_GPU_NCCL_FAIL asks
  std::deque<Step> steps_;
  std::unique_ptr<Exchange> exchange_;
};

// What several ranks bring, element by element. 16-bit floats are held in fp32 until they are finished.
class Accumulator {
 public:
  Accumulator(ncclDataType_t type, ncclRedOp_t op, std::size_t count);
  void add(const std::byte* values);                // [count], of the type
  void finish(std::byte* result, int ranks) const;  // [count], of the type; ranks: what an average divides by

 private:
  ncclDataType_t type_;
  ncclRedOp_t op_;
  std::size_t count_;
  bool empty_ = true;
  std::vector<float> floats_;           // of 16-bit and 32-bit floats
  std::vector<double> doubles_;         // of float64
  std::vector<std::int64_t> integers_;  // of integers, 64-bit unsigned ones as their bits
};

}  // namespace trireme::gpu::nccl
