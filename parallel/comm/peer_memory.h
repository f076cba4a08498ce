// Between processes of one host a shared window costs a copy into it and one out of it, through caches that the cores
// may not share. The kernel can copy straight from one process's memory into another's (process_vm_readv, as Open MPI's
// own large messages do), where it is allowed to: not under every security module, container or pid namespace. So the
// ranks of a group try it before they rely on it.
//
// Tensors are touched inside stream tasks only, so a peer's memory is read and written only while that peer is in the
// same call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trireme {

class PeerMemory {
 public:
  // A rank's own, to be given to the others: which process, and a word by which they know it.
  struct Card {
    std::int64_t process = 0;
    std::uint64_t address = 0;  // of the word
    std::uint64_t word = 0;
  };
  static Card own_card();

  // Of the ranks that gave these cards, in their order.
  explicit PeerMemory(std::vector<Card> cards) : cards_(std::move(cards)) {}

  bool reaches_all() const;  // each process is the one that gave the card, and may be read and written

  // `from` and `to` are addresses in the peer's memory. False, and errno, where the kernel does not; part may be done.
  bool read(int peer, void* to, std::uint64_t from, std::size_t bytes) const;
  bool write(int peer, std::uint64_t to, const void* from, std::size_t bytes) const;

 private:
  std::vector<Card> cards_;
};

}  // namespace trireme
