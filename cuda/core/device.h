// Memory and order, the same on a CPU and on a GPU. A back end fills `Device` as it fills the table of ops
// (cuda/ops/kernels.h), so that a shared object can bring both and nobody above knows which one runs.
//
// Work is ordered by streams, on the host too: what is put on one stream runs in that order, streams run side by side,
// and only an event orders one behind another. A host stream may run at once, on a thread of its own, or lazily in a
// shuffled order (tests), so code that works by accident of timing fails early. `synchronize` is the only call that
// waits.
#pragma once

#include <cstddef>
#include <functional>

#include "cuda/core/tensor.h"

namespace trireme {

// Handles: opaque outside the back end that made them; copied freely; destroyed once, by their maker.
struct Stream {
  void* handle = nullptr;
};
struct Event {
  void* handle = nullptr;
};

enum class StreamKind {
  kCompute,        // the caller's own work
  kCommunication,  // runs beside it (on the host: on the communication thread)
};

class Device {
 public:
  virtual ~Device() = default;

  virtual const char* name() const = 0;  // "host", "cuda", "shape-only"

  // Device memory, aligned to 4096 bytes; contents undefined. Throws UserError when there is not so much.
  virtual std::byte* allocate(std::size_t bytes) = 0;
  virtual void release(std::byte* memory) = 0;

  virtual Stream create_stream(StreamKind kind, const char* label) = 0;
  virtual void destroy_stream(Stream stream) = 0;  // after what is on it has run
  virtual Event create_event() = 0;
  virtual void destroy_event(Event event) = 0;

  virtual void record(Stream stream, Event event) = 0;  // the event happens when the stream gets here
  virtual void wait(Stream stream, Event event) = 0;    // the stream goes on when the last recorded one has happened
  virtual void synchronize(Stream stream) = 0;          // the caller waits until the stream is empty

  // Between the caller's memory and the device, in stream order. `upload` has taken the source when it returns; a
  // `download` is there after `synchronize`.
  virtual void upload(Stream stream, Tensor to, const void* from) = 0;
  virtual void download(Stream stream, void* to, Tensor from) = 0;

  // Runs host code in stream order. Inside it, and nowhere else above the back ends, the data of host tensors may be
  // read and written: this is how the host communicators reach it.
  virtual void run(Stream stream, std::function<void()> task) = 0;
};

}  // namespace trireme
