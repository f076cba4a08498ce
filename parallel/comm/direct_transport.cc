#include "parallel/comm/direct_transport.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "parallel/comm/sums.h"

namespace trireme {
namespace {

// Each call of the kernel takes some microseconds and beyond this the caches are left: 128 KB to 8 MB were tried.
constexpr std::size_t kScratchBytes = std::size_t{1} << 20;

}  // namespace

void DirectTransport::between(const std::byte* mine, const std::function<void()>& work) {
  const auto address = reinterpret_cast<std::uint64_t>(mine);
  std::memcpy(parts_[static_cast<std::size_t>(board_.rank())], &address, sizeof address);
  board_.await_all(board_.pass());
  work();
  board_.await_all(board_.pass());
}

std::uint64_t DirectTransport::address(int rank) const {
  std::uint64_t address = 0;
  std::memcpy(&address, parts_[static_cast<std::size_t>(rank)], sizeof address);
  return address;
}

std::vector<int> DirectTransport::others() const {
  std::vector<int> others;
  for (int i = 1; i < board_.size(); ++i) others.push_back((board_.rank() + i) % board_.size());
  return others;
}

void DirectTransport::read(int peer, std::byte* to, std::size_t at, std::size_t bytes) const {
  if (!memory_.read(peer, to, address(peer) + at, bytes)) board_.lost(peer, std::strerror(errno));
}

void DirectTransport::sum(std::byte* to, const std::byte* own, std::size_t at, std::size_t bytes, DType dtype,
                          Reduction reduction, const std::function<void(std::size_t begin, std::size_t bytes)>& done) {
  const std::vector<int> peers = others();
  const std::size_t most = std::max<std::size_t>(64, kScratchBytes / std::max<std::size_t>(1, peers.size()) / 64 * 64);
  scratch_.resize(most * peers.size());
  std::vector<const std::byte*> sources(parts_.size());
  for (std::size_t begin = 0; begin < bytes; begin += most) {
    const std::size_t piece = std::min(most, bytes - begin);
    for (std::size_t i = 0; i < peers.size(); ++i) {
      std::byte* theirs = scratch_.data() + i * most;
      read(peers[i], theirs, at + begin, piece);
      sources[static_cast<std::size_t>(peers[i])] = theirs;
    }
    sources[static_cast<std::size_t>(board_.rank())] = own + begin;
    reduce_tree(to + begin, sources, piece / bytes_of(dtype), dtype, reduction);
    done(begin, piece);
  }
}

void DirectTransport::all_reduce(const Call&, const Tensor& x, Reduction reduction) {
  between(x.data, [&] {
    const Slice slice = slice_of(static_cast<std::size_t>(x.elements()), board_.size(), board_.rank());
    const std::size_t at = slice.begin * bytes_of(x.dtype);
    std::byte* mine = x.data + at;
    sum(mine, mine, at, slice.count() * bytes_of(x.dtype), x.dtype, reduction,
        [&](std::size_t begin, std::size_t bytes) {
          for (const int peer : others())
            if (!memory_.write(peer, address(peer) + at + begin, mine + begin, bytes))
              board_.lost(peer, std::strerror(errno));
        });
  });
}

void DirectTransport::reduce_scatter(const Call&, const Tensor& to, const Tensor& from) {
  between(from.data, [&] {
    const std::size_t at = static_cast<std::size_t>(board_.rank()) * to.bytes();
    sum(to.data, from.data + at, at, to.bytes(), to.dtype, Reduction::kSum, [](std::size_t, std::size_t) {});
  });
}

void DirectTransport::all_gather(const Call&, const Tensor& to, const Tensor& from) {
  const auto row = [&](int rank) { return to.data + static_cast<std::size_t>(rank) * from.bytes(); };
  between(from.data, [&] {
    for (const int peer : others()) read(peer, row(peer), 0, from.bytes());
    if (row(board_.rank()) != from.data) std::memcpy(row(board_.rank()), from.data, from.bytes());
  });
}

void DirectTransport::broadcast(const Call&, const Tensor& x, int root) {
  between(x.data, [&] {
    if (board_.rank() != root) read(root, x.data, 0, x.bytes());
  });
}

void DirectTransport::all_to_all(const Call&, const Tensor& to, const Tensor& from) {
  const std::size_t row = from.bytes() / parts_.size();
  const std::size_t me = static_cast<std::size_t>(board_.rank());
  between(from.data, [&] {
    for (const int peer : others()) read(peer, to.data + static_cast<std::size_t>(peer) * row, me * row, row);
    std::memcpy(to.data + me * row, from.data + me * row, row);
  });
}

}  // namespace trireme
