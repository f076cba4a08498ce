// Collectives of the ranks of one host. Large tensors are the DirectTransport's, where the kernel allows it; the others
// go through a shared window in pieces that stay in the cache: a rank copies a piece into its part of the
// window, and each reads what it needs of the others'. Ranks go through the pieces side by side but not in
// lockstep: a step of one puts a piece, sums the one that it put kDelay steps ago and takes the result of the one
// before that, so it waits only for peers that are more than kDelay steps behind.
//
// The floor of an all_reduce of n bytes is to read and write them once; in the window two ranks copy 3 n / 2 more.
// README.md has what was measured.
//
// Invariants: a rank writes its own part only. In step i all peers are known to have ended step i - 1 - kDelay, and so
// to have taken piece i - 1 - 3 kDelay: its place is free for piece i with kPlaces = 3 kDelay + 1.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "parallel/comm/direct_transport.h"
#include "parallel/comm/host_board.h"
#include "parallel/comm/transport.h"
#include "parallel/comm/window_writer.h"

namespace trireme {

class HostTransport final : public Transport {
 public:
  static constexpr std::size_t kPieceBytes = std::size_t{256} << 10;
  static constexpr std::size_t kDelay = 2;
  static constexpr std::size_t kPlaces = 3 * kDelay + 1;
  static constexpr std::size_t kPartBytes = kPlaces * kPieceBytes;

  static constexpr std::size_t kDirectBytes = std::size_t{4} << 20;  // of a tensor that goes directly

  // parts[r]: rank r's part of the window, kPartBytes, aligned to 64; they outlive the transport. `memory`: the ranks',
  // if the kernel lets every one of them reach it.
  HostTransport(std::unique_ptr<HostBoard> board, std::vector<std::byte*> parts, std::optional<PeerMemory> memory);

  void meet(const Call& call) override { board_->meet(call); }
  void all_reduce(const Call& call, const Tensor& x, Reduction reduction) override;
  void reduce_scatter(const Call& call, const Tensor& to, const Tensor& from) override;
  void all_gather(const Call& call, const Tensor& to, const Tensor& from) override;
  void broadcast(const Call& call, const Tensor& x, int root) override;
  void all_to_all(const Call& call, const Tensor& to, const Tensor& from) override;

 private:
  // Whether the tensor, as large on every rank, goes directly.
  bool directly(const Tensor& tensor) const { return direct_ != nullptr && tensor.bytes() >= kDirectBytes; }

  using Work = std::function<void(std::size_t piece)>;
  enum class Kind { kSummed, kTakenAsPut };
  void in_steps(std::size_t pieces, Kind kind, const Work& put, const Work& sum, const Work& take);

  // Bytes [begin, begin + bytes) of a row, which lie in `place`.
  struct Piece {
    std::size_t begin = 0;
    std::size_t bytes = 0;
    std::size_t place = 0;
  };
  void in_pieces(Op op, std::size_t row_bytes, std::size_t most, const std::function<void(const Piece&)>& put,
                 const std::function<void(const Piece&)>& take);
  // For rows of which every rank brings one for each rank.
  std::size_t share() const;
  void put_rows(const Piece& piece, const Tensor& from);
  std::byte* part(int rank, std::size_t place) const;

  std::unique_ptr<HostBoard> board_;
  std::vector<std::byte*> parts_;
  WindowWriter writer_;
  std::unique_ptr<DirectTransport> direct_;  // null: the kernel does not allow it, or there is one rank
};

}  // namespace trireme
