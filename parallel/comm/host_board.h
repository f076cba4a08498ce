// Where the processes of one host meet: a block of memory that they share. Each rank has a seat, writes into it which
// call it is in, and rings a bell (a futex); who waits sleeps on the bell instead of polling, for the cores belong to
// the backward pass.
//
// Invariants: seat.entered counts the calls that a rank has begun; a rank begins call k + 1 only after all have begun
// call k, so two places a seat hold what may still be read. seat.passed counts barriers. Nothing of a seat is written
// by another rank.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "parallel/comm/call.h"

namespace trireme {

class HostBoard {
 public:
  static std::size_t bytes(int size);
  // By one rank, before the others attach.
  static void prepare(std::byte* memory, int size);

  // `memory` is shared by all ranks and outlives the board.
  HostBoard(std::byte* memory, int rank, int size, std::chrono::milliseconds timeout);
  ~HostBoard();  // peers that wait for this rank, or will, fail at once
  HostBoard(const HostBoard&) = delete;
  HostBoard& operator=(const HostBoard&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // Returns when all ranks are in this same call. Throws PeerError naming who is where.
  void meet(const Call& call);
  // Within a call: returns when all ranks are here. What they wrote before is seen after.
  void barrier();

 private:
  struct Seat;
  struct Shared;

  Seat& seat(int rank) const;
  void ring();
  void await(std::chrono::microseconds patience, const std::function<bool()>& ready);
  const Call& call_of(int rank) const;  // the latest
  [[noreturn]] void fail(const std::string& what);

  Shared* shared_;
  const int rank_;
  const int size_;
  const std::chrono::milliseconds timeout_;
};

}  // namespace trireme
