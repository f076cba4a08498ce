// cudaMemcpyAsync from or to memory that is not pinned waits for the stream, and callers' memory is not pinned. So
// copies pass through a ring of pinned memory in pieces: the caller goes on once its bytes are in the ring, and each
// piece is free again when the event behind it has happened. Only a full ring waits, for its oldest piece.
//
// Pieces are given back in the order in which they were taken, whatever their streams. Thread-safe. Internal to
// cuda/device.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include <cuda_runtime.h>

namespace trireme::cuda {

class StagingRing {
 public:
  static constexpr std::size_t kBytes = std::size_t{32} << 20;
  static constexpr std::size_t kPieceBytes = std::size_t{4} << 20;  // at most

  StagingRing() = default;
  ~StagingRing();  // waits for what is under way
  StagingRing(const StagingRing&) = delete;
  StagingRing& operator=(const StagingRing&) = delete;

  // enqueue(piece) fills `piece` (of `bytes` <= kPieceBytes) or puts work on the stream that does, and puts work on the
  // stream that uses it; the ring gives it to somebody else after that.
  void use(cudaStream_t stream, std::size_t bytes, const std::function<void(std::byte* piece)>& enqueue);

 private:
  struct Piece {
    std::size_t begin, end;  // of the ring
    cudaEvent_t done;
  };
  std::size_t take(std::size_t bytes);
  void free_oldest();

  std::mutex mutex_;
  std::byte* ring_ = nullptr;      // pinned, from the first use on
  std::size_t next_ = 0;           // where the next piece goes
  std::deque<Piece> under_way_;    // oldest first
  std::vector<cudaEvent_t> idle_;  // events without a piece
};

}  // namespace trireme::cuda
