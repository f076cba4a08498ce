// Where the processes of one host meet: a block of memory that they share. Each rank has a seat, writes into it which
// call it is in, and rings a bell (a futex); who waits sleeps on the bell instead of polling, for the cores belong to
// the backward pass.
//
// A rank waits until its peers come, one of them leaves or dies, or the timeout passes.
//
// Invariants: seat.entered counts the calls that a rank has begun; a rank begins call k + 1 only after all have begun
// call k, so two places a seat hold what may still be read. seat.passed counts points within calls. Nothing of a seat
// is written by another rank.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "parallel/comm/call.h"
#include "parallel/comm/host_ledger.h"

namespace trireme {

class HostBoard {
 public:
  static std::size_t bytes(int size);
  // By one rank, before the others attach.
  static void prepare(std::byte* memory, int size);

  // `memory` is shared by all members and outlives the board, as does `ledger`, which may be null.
  HostBoard(std::byte* memory, int rank, Members members, std::chrono::milliseconds timeout,
            const HostLedger* ledger = nullptr);
  ~HostBoard();  // peers that wait for this rank, or will, fail at once
  HostBoard(const HostBoard&) = delete;
  HostBoard& operator=(const HostBoard&) = delete;

  int rank() const { return rank_; }
  int size() const { return members_.size(); }

  // Returns when all ranks are in this same call. Throws PeerError naming who is where.
  void meet(const Call& call);
  // Within a call: says that this rank has come as far as its point `number`, counted over the board's life.
  std::uint64_t pass();
  std::uint64_t passed() const;
  // Returns when all ranks have passed that point. What they wrote before is seen after.
  void await_all(std::uint64_t number);
  // Within a call the kernel does not reach a peer's memory: throws PeerError, which names who died if somebody did.
  [[noreturn]] void lost(int rank, const std::string& why);

 private:
  struct Seat;
  struct Shared;

  Seat& seat(int rank) const;
  void ring();
  void await(const std::function<bool()>& ready);
  const Call& call_of(int rank) const;  // the latest
  [[noreturn]] void fail(const std::string& what);

  Shared* shared_;
  const int rank_;
  const Members members_;
  const std::chrono::milliseconds timeout_;
  const HostLedger* const ledger_;
};

}  // namespace trireme
