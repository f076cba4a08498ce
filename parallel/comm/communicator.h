// Ranks that talk in different orders hang, and a hang names nobody. Every call here carries what it is for (step and
// tensor), every implementation checks that its peers are in the same call, and a mismatch, a dead peer or a deadlock
// ends as a PeerError that says which rank, which call and which tensor.
//
// A communicator is a group of ranks that call the same methods in the same order. Calls are put on a stream and return
// at once; tensors must stay until an event after them. The calls of one communicator stand on one stream, or are
// ordered by events. A PeerError is thrown inside the stream's task, so it surfaces at the next wait or synchronize of
// the device. Sums of f32 run in one fixed order: a binary tree over ranks, (r0 + r1) + (r2 + r3), so their bits depend
// on the number of ranks alone; never MPI_SUM or ncclSum. In fast numerics NCCL's do not: each is within (ranks - 1) u
// sum|terms| of the exact one, and in all_reduce the same bits on every rank.
//
// LocalGroup (threads of one process), MpiWorld (processes), NcclWorld (processes with a GPU each),
// RecordingCommunicator (shape-only: writes down what is called).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/core/device.h"
#include "cuda/core/tensor.h"

namespace trireme {

// What a call is for; printed when it fails. `tensor` points to storage that outlives the call's work.
struct CallFor {
  std::int64_t step = -1;  // -1: before the first or outside of any
  std::string_view tensor;
};

enum class Reduction { kSum, kMax };

struct Transfer {
  Tensor tensor;
  int peer = 0;  // rank in this communicator
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  // In place; x f32 (kSum in the tree above) or f32, i32, i64 (kMax; i64 also kSum).
  virtual void all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor call) = 0;
  // from [size, ...], to [...]: to = tree sum over ranks of their from[rank]. f32. `to` may be from[rank].
  virtual void reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor call) = 0;
  // to [size, ...]: to[r] = rank r's from. Any dtype. `from` may be to[rank].
  virtual void all_gather(Stream stream, Tensor to, Tensor from, CallFor call) = 0;
  virtual void broadcast(Stream stream, Tensor x, int root, CallFor call) = 0;
  // from, to [size, ...]: to[r] = rank r's from[rank].
  virtual void all_to_all(Stream stream, Tensor to, Tensor from, CallFor call) = 0;
  // Sends and receives that progress together, so that no order of posting can deadlock. Only the ranks named take
  // part; messages between two ranks match in the order given.
  virtual void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                        CallFor call) = 0;

  // Small host messages, outside the step: waits for what this communicator put on streams, then for all. Element r is
  // rank r's.
  virtual std::vector<std::string> gather_to_all(std::string_view message, CallFor call) = 0;

  // The communicator of some of these ranks: `ranks`, ascending, this one among them, keep their order. `name` tells it
  // apart in reports. Collective over `ranks`: each of them calls it, and all make the groups that they share in the
  // same order. It may be used on another stream than this one, at the same time, and goes before this one.
  virtual std::unique_ptr<Communicator> subgroup(std::span<const int> ranks, std::string_view name) = 0;
};

}  // namespace trireme
