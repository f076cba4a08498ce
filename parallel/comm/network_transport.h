// Collectives across hosts, by messages: in an all_reduce every rank gets its slice of each piece from all, sums it in
// the one tree, and sends the result to all. Bits are those of HostTransport and LocalGroup for the same number of
// ranks.
#pragma once

#include <vector>

#include "parallel/comm/mpi_messages.h"
#include "parallel/comm/transport.h"

namespace trireme {

class NetworkTransport final : public Transport {
 public:
  static constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

  // `messages` outlives it.
  explicit NetworkTransport(MpiMessages& messages) : messages_(messages) {}

  void meet(const Call& call) override { messages_.meet(call); }
  void all_reduce(const Call& call, const Tensor& x, Reduction reduction) override;
  void reduce_scatter(const Call& call, const Tensor& to, const Tensor& from) override;
  void all_gather(const Call& call, const Tensor& to, const Tensor& from) override;
  void broadcast(const Call& call, const Tensor& x, int root) override;
  void all_to_all(const Call& call, const Tensor& to, const Tensor& from) override;

 private:
  // Slices of one piece on their way to the ranks that sum them.
  struct Gathering {
    std::vector<std::byte> received;  // rank after rank
    MpiMessages::Batch batch;
  };
  void start_gathering(Gathering& gathering, std::byte* piece, std::size_t count, std::size_t width);
  void sum(const Gathering& gathering, std::byte* piece, std::size_t count, DType dtype, Reduction reduction);
  void start_spreading(MpiMessages::Batch& batch, std::byte* piece, std::size_t count, std::size_t width);

  MpiMessages& messages_;
};

}  // namespace trireme
