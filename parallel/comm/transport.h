// How the collectives of MpiCommunicator move bytes, once it is their turn on the stream. Two ways: HostTransport,
// through memory that the ranks of one host share, and NetworkTransport, by messages. Same results, bit for bit. Calls
// block, are made by one thread at a time, and throw PeerError.
#pragma once

#include "parallel/comm/call.h"

namespace trireme {

class Transport {
 public:
  virtual ~Transport() = default;
  // Returns when all ranks are in this same call; the others begin with it.
  virtual void meet(const Call& call) = 0;
  virtual void all_reduce(const Call& call, const Tensor& x, Reduction reduction) = 0;
  virtual void reduce_scatter(const Call& call, const Tensor& to, const Tensor& from) = 0;
  virtual void all_gather(const Call& call, const Tensor& to, const Tensor& from) = 0;
  virtual void broadcast(const Call& call, const Tensor& x, int root) = 0;
  virtual void all_to_all(const Call& call, const Tensor& to, const Tensor& from) = 0;
};

}  // namespace trireme
