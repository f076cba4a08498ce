#include "parallel/comm/peer_memory.h"

#include <random>

#include <sys/uio.h>
#include <unistd.h>

namespace trireme {
namespace {

// Others read it and write it as it is.
std::uint64_t& own_word() {
  static std::uint64_t word = [] {
    std::random_device random;
    return std::uint64_t{random()} << 32 | random();
  }();
  return word;
}

// `copy` is process_vm_readv or process_vm_writev, which may do less than all.
template <class Copy>
bool copy_all(Copy copy, std::int64_t process, std::uint64_t here, std::uint64_t there, std::size_t bytes) {
  while (bytes > 0) {
    const iovec local{reinterpret_cast<void*>(here), bytes}, remote{reinterpret_cast<void*>(there), bytes};
    const ssize_t done = copy(static_cast<pid_t>(process), &local, 1, &remote, 1, 0);
    if (done <= 0) return false;
    here += static_cast<std::uint64_t>(done);
    there += static_cast<std::uint64_t>(done);
    bytes -= static_cast<std::size_t>(done);
  }
  return true;
}

}  // namespace

PeerMemory::Card PeerMemory::own_card() { return {getpid(), reinterpret_cast<std::uint64_t>(&own_word()), own_word()}; }

bool PeerMemory::reaches_all() const {
  for (int peer = 0; peer < static_cast<int>(cards_.size()); ++peer) {
    const Card& card = cards_[static_cast<std::size_t>(peer)];
    std::uint64_t word = 0;
    if (!read(peer, &word, card.address, sizeof word) || word != card.word) return false;
    if (!write(peer, card.address, &word, sizeof word)) return false;
  }
  return true;
}

bool PeerMemory::read(int peer, void* to, std::uint64_t from, std::size_t bytes) const {
  return copy_all(process_vm_readv, cards_[static_cast<std::size_t>(peer)].process, reinterpret_cast<std::uint64_t>(to),
                  from, bytes);
}

bool PeerMemory::write(int peer, std::uint64_t to, const void* from, std::size_t bytes) const {
  return copy_all(process_vm_writev, cards_[static_cast<std::size_t>(peer)].process,
                  reinterpret_cast<std::uint64_t>(from), to, bytes);
}

}  // namespace trireme
