#include "parallel/comm/host_transport.h"

#include <algorithm>
#include <cstring>

#include "parallel/comm/sums.h"

namespace trireme {
namespace {

void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

}  // namespace

HostTransport::HostTransport(std::unique_ptr<HostBoard> board, std::vector<std::byte*> parts,
                             std::optional<PeerMemory> memory)
    : board_(std::move(board)), parts_(std::move(parts)) {
  CHECK(static_cast<int>(parts_.size()) == board_->size(), parts_.size(), " parts of ", board_->size(), " ranks");
  if (memory && parts_.size() > 1) direct_ = std::make_unique<DirectTransport>(*board_, std::move(*memory), parts_);
}

std::byte* HostTransport::part(int rank, std::size_t place) const {
  return parts_[static_cast<std::size_t>(rank)] + place * kPieceBytes;
}

void HostTransport::all_reduce(const Call& call, const Tensor& x, Reduction reduction) {
  board_->meet(call);
  if (directly(x)) return direct_->all_reduce(call, x, reduction);
  const int me = board_->rank();
  const int size = board_->size();
  const std::size_t width = bytes_of(x.dtype);
  const std::size_t per_piece = kPieceBytes / width;
  const auto count = static_cast<std::size_t>(x.elements());
  const std::size_t pieces = (count + per_piece - 1) / per_piece;
  if (size == 1) return;

  const auto elements = [&](std::size_t piece) { return std::min(per_piece, count - piece * per_piece); };
  const auto ours = [&](std::size_t piece) { return x.data + piece * kPieceBytes; };
  // All but the slice that this rank reduces itself.
  const auto put = [&](std::size_t piece) {
    const Slice mine = slice_of(elements(piece), size, me);
    std::byte* to = part(me, piece % kPlaces);
    writer_.copy(to, ours(piece), mine.begin * width);
    writer_.copy(to + mine.end * width, ours(piece) + mine.end * width, (elements(piece) - mine.end) * width);
  };
  std::vector<const std::byte*> sources(static_cast<std::size_t>(size));
  const auto sum = [&](std::size_t piece) {
    const Slice mine = slice_of(elements(piece), size, me);
    const std::size_t at = mine.begin * width;
    for (int rank = 0; rank < size; ++rank)
      sources[static_cast<std::size_t>(rank)] = (rank == me ? ours(piece) : part(rank, piece % kPlaces)) + at;
    reduce_tree(ours(piece) + at, sources, mine.count(), x.dtype, reduction);
    writer_.copy(part(me, piece % kPlaces) + at, ours(piece) + at, mine.count() * width);
  };
  const auto take = [&](std::size_t piece) {
    for (int rank = 0; rank < size; ++rank) {
      const Slice theirs = slice_of(elements(piece), size, rank);
      const std::size_t at = theirs.begin * width;
      if (rank != me) copy_bytes(ours(piece) + at, part(rank, piece % kPlaces) + at, theirs.count() * width);
    }
  };

  writer_.begin(call.op, x.bytes());
  in_steps(pieces, Kind::kSummed, put, sum, take);
  writer_.end();
}

void HostTransport::in_steps(std::size_t pieces, Kind kind, const Work& put, const Work& sum, const Work& take) {
  const std::size_t taken = kind == Kind::kSummed ? 2 * kDelay : kDelay;
  const std::size_t steps = pieces > 0 ? pieces + taken : 0;
  const std::uint64_t before = board_->passed();
  for (std::size_t step = 0; step < steps; ++step) {
    if (step < pieces) put(step);
    if (step >= kDelay) board_->await_all(before + step - kDelay + 1);
    if (kind == Kind::kSummed && step >= kDelay && step - kDelay < pieces) sum(step - kDelay);
    if (step >= taken) take(step - taken);
    if (step + 1 < steps) board_->pass();
  }
}

void HostTransport::in_pieces(Op op, std::size_t row_bytes, std::size_t most,
                              const std::function<void(const Piece&)>& put,
                              const std::function<void(const Piece&)>& take) {
  const auto piece = [&](std::size_t i) { return Piece{i * most, std::min(most, row_bytes - i * most), i % kPlaces}; };
  writer_.begin(op, row_bytes);
  in_steps((row_bytes + most - 1) / most, Kind::kTakenAsPut, [&](std::size_t i) { put(piece(i)); }, {},
           [&](std::size_t i) { take(piece(i)); });
  writer_.end();
}

std::size_t HostTransport::share() const {
  const std::size_t share = kPieceBytes / static_cast<std::size_t>(board_->size()) / 64 * 64;
  CHECK(share > 0, board_->size(), " ranks on one host");
  return share;
}

// What others take; a rank's own row never leaves it.
void HostTransport::put_rows(const Piece& piece, const Tensor& from) {
  const auto size = static_cast<std::size_t>(board_->size());
  const auto me = static_cast<std::size_t>(board_->rank());
  const std::size_t row = from.bytes() / size;
  for (std::size_t peer = 0; peer < size; ++peer)
    if (peer != me)
      writer_.copy(part(board_->rank(), piece.place) + peer * share(), from.data + peer * row + piece.begin,
                   piece.bytes);
}

void HostTransport::reduce_scatter(const Call& call, const Tensor& to, const Tensor& from) {
  board_->meet(call);
  if (directly(from)) return direct_->reduce_scatter(call, to, from);
  const auto me = static_cast<std::size_t>(board_->rank());
  std::vector<const std::byte*> sources(parts_.size());
  in_pieces(
      call.op, to.bytes(), share(), [&](const Piece& piece) { put_rows(piece, from); },
      [&](const Piece& piece) {
        for (std::size_t rank = 0; rank < sources.size(); ++rank)
          sources[rank] = part(static_cast<int>(rank), piece.place) + me * share();
        sources[me] = from.data + me * to.bytes() + piece.begin;
        reduce_tree(to.data + piece.begin, sources, piece.bytes / bytes_of(to.dtype), to.dtype, Reduction::kSum);
      });
}

void HostTransport::all_gather(const Call& call, const Tensor& to, const Tensor& from) {
  board_->meet(call);
  if (directly(to)) return direct_->all_gather(call, to, from);
  const auto me = static_cast<std::size_t>(board_->rank());
  const auto row = [&](std::size_t rank) { return to.data + rank * from.bytes(); };
  in_pieces(
      call.op, from.bytes(), kPieceBytes,
      [&](const Piece& piece) {
        writer_.copy(part(board_->rank(), piece.place), from.data + piece.begin, piece.bytes);
        copy_bytes(row(me) + piece.begin, from.data + piece.begin, piece.bytes);
      },
      [&](const Piece& piece) {
        for (std::size_t rank = 0; rank < parts_.size(); ++rank)
          if (rank != me) copy_bytes(row(rank) + piece.begin, part(static_cast<int>(rank), piece.place), piece.bytes);
      });
}

void HostTransport::broadcast(const Call& call, const Tensor& x, int root) {
  board_->meet(call);
  if (directly(x)) return direct_->broadcast(call, x, root);
  const bool gives = board_->rank() == root;
  in_pieces(
      call.op, x.bytes(), kPieceBytes,
      [&](const Piece& piece) {
        if (gives) writer_.copy(part(root, piece.place), x.data + piece.begin, piece.bytes);
      },
      [&](const Piece& piece) {
        if (!gives) copy_bytes(x.data + piece.begin, part(root, piece.place), piece.bytes);
      });
}

void HostTransport::all_to_all(const Call& call, const Tensor& to, const Tensor& from) {
  board_->meet(call);
  if (directly(from)) return direct_->all_to_all(call, to, from);
  const auto me = static_cast<std::size_t>(board_->rank());
  const std::size_t row = from.bytes() / parts_.size();
  in_pieces(
      call.op, row, share(), [&](const Piece& piece) { put_rows(piece, from); },
      [&](const Piece& piece) {
        for (std::size_t rank = 0; rank < parts_.size(); ++rank)
          copy_bytes(to.data + rank * row + piece.begin,
                     rank == me ? from.data + me * row + piece.begin
                                : part(static_cast<int>(rank), piece.place) + me * share(),
                     piece.bytes);
      });
}

}  // namespace trireme
