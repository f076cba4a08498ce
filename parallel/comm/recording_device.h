// A list of calls says which come after each other on one stream, but a deadlock may run over several: streams wait for
// events of others, and the program itself waits. This is the shape-only device with an account of that: for the next
// item on a stream, the calls that must have ended before it.
//
// Calls have numbers, in the order in which they are made; for each stream only the last that must have ended is kept,
// for those of one stream end in order. What is on a compute stream runs in the caller (cuda/host), so all that is put
// on any stream later comes after it: the strictest of the back ends, and what cannot deadlock here cannot elsewhere.
#pragma once

#include <array>
#include <vector>

#include "cuda/core/shape_only.h"

namespace trireme {

// Of each stream, in the order of their creation, the last call that must have ended; -1: none.
inline constexpr std::size_t kMostStreams = 4;
using CallFrontier = std::array<int, kMostStreams>;
inline constexpr CallFrontier kNoCalls = {-1, -1, -1, -1};

class RecordingDevice final : public ShapeOnlyDevice {
 public:
  Stream create_stream(StreamKind kind, const char* label) override;
  Event create_event() override;
  void record(Stream stream, Event event) override;
  void wait(Stream stream, Event event) override;
  void synchronize(Stream stream) override;

  // The stream's number; 0 for one of another device.
  int number_of(Stream stream) const;
  // Puts call `call` on a stream; what must have ended before it begins.
  CallFrontier put(Stream stream, int call);

 private:
  struct Order {
    StreamKind kind = StreamKind::kCompute;
    CallFrontier before = kNoCalls;
  };
  CallFrontier before(Stream stream) const;

  std::vector<Order> streams_;
  std::vector<CallFrontier> events_;
  CallFrontier program_ = kNoCalls;
};

}  // namespace trireme
