#include "cuda/device/error.cuh"
#include "cuda/device/staging.cuh"
#include "monitoring/check.h"

namespace trireme::cuda {

StagingRing::~StagingRing() {
  for (const Piece& piece : under_way_) {
    static_cast<void>(cudaEventSynchronize(piece.done));
    static_cast<void>(cudaEventDestroy(piece.done));
  }
  for (cudaEvent_t event : idle_) static_cast<void>(cudaEventDestroy(event));
  if (ring_ != nullptr) static_cast<void>(cudaFreeHost(ring_));
}

void StagingRing::free_oldest() {
  const Piece oldest = under_way_.front();
  check(cudaEventSynchronize(oldest.done), "cudaEventSynchronize");
  idle_.push_back(oldest.done);
  under_way_.pop_front();
}

// Pieces lie one behind another; what does not fit at the end starts over at the beginning.
std::size_t StagingRing::take(std::size_t bytes) {
  const std::size_t begin = next_ + bytes <= kBytes ? next_ : 0;
  const std::size_t end = begin + bytes;
  const auto in_the_way = [&](const Piece& piece) {
    if (begin != next_ && piece.begin >= next_) return true;  // what lies in the end that is left out
    return piece.begin < end && begin < piece.end;
  };
  while (!under_way_.empty() && in_the_way(under_way_.front())) free_oldest();
  next_ = end;
  return begin;
}

void StagingRing::use(cudaStream_t stream, std::size_t bytes, const std::function<void(std::byte* piece)>& enqueue) {
  CHECK(bytes <= kPieceBytes, bytes, " bytes in one piece");
  std::lock_guard lock(mutex_);
  if (ring_ == nullptr) {
    void* pinned = nullptr;
    check(cudaMallocHost(&pinned, kBytes), "cudaMallocHost");
    ring_ = static_cast<std::byte*>(pinned);
  }
  const std::size_t begin = take((bytes + 255) / 256 * 256);
  if (idle_.empty()) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    idle_.push_back(event);
  }
  enqueue(ring_ + begin);
  const Piece piece{begin, next_, idle_.back()};
  check(cudaEventRecord(piece.done, stream), "cudaEventRecord");
  idle_.pop_back();
  under_way_.push_back(piece);
}

}  // namespace trireme::cuda
