// Collectives of the ranks of one host, in pieces that stay in the cache: a rank copies a piece into its part of a
// shared window, all meet, and each reads what it needs of the others'. An all_reduce of n bytes moves, for two ranks,
// about 5 n / 2 bytes a rank and two thirds of that in the cache; Open MPI's own, unsegmented, is 5 to 8 times slower
// at 64 MB.
//
// Invariants: a rank writes its own part only; a piece's place is written again only after a barrier that all reach
// when they have read it (all_reduce has three places, the rest two).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "parallel/comm/host_board.h"
#include "parallel/comm/transport.h"

namespace trireme {

class HostTransport final : public Transport {
 public:
  static constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
  static constexpr std::size_t kPlaces = 3;
  static constexpr std::size_t kPartBytes = kPlaces * kPieceBytes;

  // parts[r]: rank r's part of the window, kPartBytes, aligned to 64; they outlive the transport.
  HostTransport(std::unique_ptr<HostBoard> board, std::vector<std::byte*> parts);

  void meet(const Call& call) override { board_->meet(call); }
  void all_reduce(const Call& call, const Tensor& x, Reduction reduction) override;
  void reduce_scatter(const Call& call, const Tensor& to, const Tensor& from) override;
  void all_gather(const Call& call, const Tensor& to, const Tensor& from) override;
  void broadcast(const Call& call, const Tensor& x, int root) override;
  void all_to_all(const Call& call, const Tensor& to, const Tensor& from) override;

 private:
  // Bytes [begin, begin + bytes) of a row, which lie in `place`.
  struct Piece {
    std::size_t begin = 0;
    std::size_t bytes = 0;
    std::size_t place = 0;
  };
  void in_pieces(std::size_t row_bytes, std::size_t most, const std::function<void(const Piece&)>& put,
                 const std::function<void(const Piece&)>& take);
  // For rows of which every rank brings one for each rank.
  std::size_t share() const;
  void put_rows(const Piece& piece, const Tensor& from);
  std::byte* part(int rank, std::size_t place) const;

  std::unique_ptr<HostBoard> board_;
  std::vector<std::byte*> parts_;
};

}  // namespace trireme
