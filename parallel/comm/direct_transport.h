// Collectives of large tensors of the ranks of one host, without a window: who wants bytes copies them out of its
// peer's tensor, and of an all_reduce each rank writes the slice that it sums into all others'. An all_reduce of n
// bytes then touches memory as often as any can: each rank reads n and writes n, and what it sums lies in its cache.
//
// Ranks are side by side at two places only: when all have said where their tensors are, and when nobody needs
// another's any more.
//
// Invariant: rank r alone reads and writes row or slice r of another's tensor, and no other does meanwhile.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "parallel/comm/host_board.h"
#include "parallel/comm/peer_memory.h"
#include "parallel/comm/transport.h"

namespace trireme {

class DirectTransport final : public Transport {
 public:
  // parts[r]: the first bytes of rank r's part of a shared window, aligned to 64, which calls may overwrite: a rank
  // writes where its tensor is into its own. All of it outlives this.
  DirectTransport(HostBoard& board, PeerMemory memory, std::vector<std::byte*> parts)
      : board_(board), memory_(std::move(memory)), parts_(std::move(parts)) {}

  // The ranks have met in the call that the others follow.
  void meet(const Call& call) override { board_.meet(call); }
  void all_reduce(const Call& call, const Tensor& x, Reduction reduction) override;
  void reduce_scatter(const Call& call, const Tensor& to, const Tensor& from) override;
  void all_gather(const Call& call, const Tensor& to, const Tensor& from) override;
  void broadcast(const Call& call, const Tensor& x, int root) override;
  void all_to_all(const Call& call, const Tensor& to, const Tensor& from) override;

 private:
  // Runs `work` between the two places; `mine` is what others reach of this rank.
  void between(const std::byte* mine, const std::function<void()>& work);
  std::uint64_t address(int rank) const;  // of its tensor
  std::vector<int> others() const;        // the next one first, so that not all copy from rank 0 at once
  void read(int peer, std::byte* to, std::size_t at, std::size_t bytes) const;
  // to = the tree over all ranks of their bytes [at, at + bytes), of which this rank's are `own`. `done` is called with
  // what is summed while it lies in the cache.
  void sum(std::byte* to, const std::byte* own, std::size_t at, std::size_t bytes, DType dtype, Reduction reduction,
           const std::function<void(std::size_t begin, std::size_t bytes)>& done);

  HostBoard& board_;
  PeerMemory memory_;
  std::vector<std::byte*> parts_;
  std::vector<std::byte> scratch_;  // a piece of each peer's
};

}  // namespace trireme
