#include "parallel/comm/network_transport.h"

#include <algorithm>
#include <cstring>

#include "parallel/comm/sums.h"

namespace trireme {
namespace {

using Kind = MpiMessages::Kind;

// Peers of `rank`, the next one first, so that not all ranks write to rank 0 at once.
std::vector<int> peers_of(int rank, int size) {
  std::vector<int> peers;
  for (int i = 1; i < size; ++i) peers.push_back((rank + i) % size);
  return peers;
}

}  // namespace

void NetworkTransport::start_gathering(Gathering& gathering, std::byte* piece, std::size_t count, std::size_t width) {
  const int me = messages_.rank();
  const int size = messages_.size();
  const std::size_t mine = slice_of(count, size, me).count() * width;
  gathering.received.resize(mine * static_cast<std::size_t>(size));
  for (int peer : peers_of(me, size)) {
    const Slice theirs = slice_of(count, size, peer);
    messages_.receive(gathering.batch, Kind::kData, peer,
                      gathering.received.data() + static_cast<std::size_t>(peer) * mine, mine);
    messages_.send(gathering.batch, Kind::kData, peer, piece + theirs.begin * width, theirs.count() * width);
  }
}

void NetworkTransport::sum(const Gathering& gathering, std::byte* piece, std::size_t count, DType dtype,
                           Reduction reduction) {
  const int me = messages_.rank();
  const Slice slice = slice_of(count, messages_.size(), me);
  if (slice.count() == 0) return;
  std::byte* mine = piece + slice.begin * bytes_of(dtype);
  std::vector<const std::byte*> sources;
  for (int rank = 0; rank < messages_.size(); ++rank)
    sources.push_back(rank == me ? mine
                                 : gathering.received.data() +
                                       static_cast<std::size_t>(rank) * slice.count() * bytes_of(dtype));
  reduce_tree(mine, sources, slice.count(), dtype, reduction);
}

void NetworkTransport::start_spreading(MpiMessages::Batch& batch, std::byte* piece, std::size_t count,
                                       std::size_t width) {
  const int me = messages_.rank();
  const int size = messages_.size();
  const Slice mine = slice_of(count, size, me);
  for (int peer : peers_of(me, size)) {
    const Slice theirs = slice_of(count, size, peer);
    messages_.receive(batch, Kind::kData, peer, piece + theirs.begin * width, theirs.count() * width);
    messages_.send(batch, Kind::kData, peer, piece + mine.begin * width, mine.count() * width);
  }
}

void NetworkTransport::all_reduce(const Call& call, const Tensor& x, Reduction reduction) {
  messages_.meet(call);
  const std::size_t width = bytes_of(x.dtype);
  const std::size_t per_piece = kPieceBytes / width;
  const auto count = static_cast<std::size_t>(x.elements());
  const std::size_t pieces = (count + per_piece - 1) / per_piece;
  if (messages_.size() == 1 || pieces == 0) return;

  const auto elements = [&](std::size_t piece) { return std::min(per_piece, count - piece * per_piece); };
  const auto at = [&](std::size_t piece) { return x.data + piece * kPieceBytes; };
  Gathering gatherings[2];
  start_gathering(gatherings[0], at(0), elements(0), width);
  for (std::size_t piece = 0; piece < pieces; ++piece) {
    Gathering& gathering = gatherings[piece % 2];
    messages_.wait(gathering.batch, call);
    sum(gathering, at(piece), elements(piece), x.dtype, reduction);
    MpiMessages::Batch spreading;
    start_spreading(spreading, at(piece), elements(piece), width);
    // The next piece travels beside this one's result.
    if (piece + 1 < pieces) start_gathering(gatherings[(piece + 1) % 2], at(piece + 1), elements(piece + 1), width);
    messages_.wait(spreading, call);
  }
}

void NetworkTransport::reduce_scatter(const Call& call, const Tensor& to, const Tensor& from) {
  messages_.meet(call);
  const int me = messages_.rank();
  const int size = messages_.size();
  const std::size_t row = to.bytes();
  const std::size_t most = std::max<std::size_t>(64, kPieceBytes / static_cast<std::size_t>(size) / 64 * 64);
  std::vector<std::byte> received(most * static_cast<std::size_t>(size));
  for (std::size_t begin = 0; begin < row; begin += most) {
    const std::size_t bytes = std::min(most, row - begin);
    const auto ours = [&](int rank) { return from.data + static_cast<std::size_t>(rank) * row + begin; };
    const auto theirs = [&](int rank) { return received.data() + static_cast<std::size_t>(rank) * most; };
    MpiMessages::Batch batch;
    for (int peer : peers_of(me, size)) {
      messages_.receive(batch, Kind::kData, peer, theirs(peer), bytes);
      messages_.send(batch, Kind::kData, peer, ours(peer), bytes);
    }
    messages_.wait(batch, call);
    std::vector<const std::byte*> sources;
    for (int rank = 0; rank < size; ++rank) sources.push_back(rank == me ? ours(me) : theirs(rank));
    reduce_tree(to.data + begin, sources, bytes / bytes_of(to.dtype), to.dtype, Reduction::kSum);
  }
}

void NetworkTransport::all_gather(const Call& call, const Tensor& to, const Tensor& from) {
  messages_.meet(call);
  MpiMessages::Batch batch;
  const auto row = [&](int rank) { return to.data + static_cast<std::size_t>(rank) * from.bytes(); };
  for (int peer : peers_of(messages_.rank(), messages_.size())) {
    messages_.receive(batch, Kind::kData, peer, row(peer), from.bytes());
    messages_.send(batch, Kind::kData, peer, from.data, from.bytes());
  }
  if (from.bytes() > 0 && row(messages_.rank()) != from.data)
    std::memcpy(row(messages_.rank()), from.data, from.bytes());
  messages_.wait(batch, call);
}

void NetworkTransport::broadcast(const Call& call, const Tensor& x, int root) {
  messages_.meet(call);
  MpiMessages::Batch batch;
  if (messages_.rank() == root)
    for (int peer : peers_of(root, messages_.size())) messages_.send(batch, Kind::kData, peer, x.data, x.bytes());
  else
    messages_.receive(batch, Kind::kData, root, x.data, x.bytes());
  messages_.wait(batch, call);
}

void NetworkTransport::all_to_all(const Call& call, const Tensor& to, const Tensor& from) {
  messages_.meet(call);
  const int me = messages_.rank();
  const std::size_t bytes = from.bytes() / static_cast<std::size_t>(messages_.size());
  const auto at = [&](const Tensor& tensor, int rank) { return tensor.data + static_cast<std::size_t>(rank) * bytes; };
  MpiMessages::Batch batch;
  for (int peer : peers_of(me, messages_.size())) {
    messages_.receive(batch, Kind::kData, peer, at(to, peer), bytes);
    messages_.send(batch, Kind::kData, peer, at(from, peer), bytes);
  }
  if (bytes > 0) std::memcpy(at(to, me), at(from, me), bytes);
  messages_.wait(batch, call);
}

}  // namespace trireme
