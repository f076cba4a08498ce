// What of a communicator only NCCL and CUDA can do. The program links neither: libtrireme_nccl.so, built of nccl/*.cc,
// lies beside it and is opened at run time (parallel/comm/nccl.h), and this is all that passes between the two. Who may
// call what when, what a failure means and who is told of it is decided on the other side of it.
//
// Streams are the CUDA device's: Stream::handle is the cudaStream_t itself. Calls return at once, as NCCL's
// non-blocking communicators do; `state` says when the last one has been taken, and only then may the next be made.
// `state`, `abort` and marks may be used by another thread at the same time as calls.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "cuda/core/device.h"
#include "parallel/comm/communicator.h"

namespace trireme {

class NcclLink {
 public:
  // After this rank's last call has run. Waits a little for the others to come here too.
  virtual ~NcclLink() = default;

  enum class State { kReady, kBusy, kFailed };
  // kBusy: the last call, or the making of the link, is not taken yet. kFailed: `why` is NCCL's reason.
  virtual State state(std::string& why) = 0;
  // Ends what is under way, so that streams get past it; every later call fails. Any thread; twice is once.
  virtual void abort() = 0;

  // As in Communicator, but sums are NCCL's. Throw PeerError when NCCL refuses.
  virtual void all_reduce(Stream stream, Tensor x, Reduction reduction) = 0;
  virtual void reduce_scatter(Stream stream, Tensor to, Tensor from) = 0;
  virtual void all_gather(Stream stream, Tensor to, Tensor from) = 0;
  virtual void broadcast(Stream stream, Tensor x, int root) = 0;
  // One group: they progress together.
  virtual void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives) = 0;
};

// A place on a stream that can be asked for without waiting.
class NcclMarks {
 public:
  virtual ~NcclMarks() = default;
  virtual void* put(Stream stream) = 0;
  virtual bool passed(void* mark) = 0;  // throws PeerError when the device has failed
  virtual void take_back(void* mark) = 0;
};

class NcclLibrary {
 public:
  virtual ~NcclLibrary() = default;
  virtual std::string version() const = 0;  // "NCCL 2.28.9"
  // Before the first link of the calling thread, and of a thread that asks for states and marks: the GPU that the
  // opening thread uses is this thread's too.
  virtual void use_device() = 0;
  // What tells a new link apart; made by one of its ranks and sent to all. Throws PeerError.
  virtual std::string unique_id() = 0;
  // Collective over the link's ranks, of which `state` tells the end.
  virtual std::unique_ptr<NcclLink> join(const std::string& unique_id, int rank, int size) = 0;
  virtual std::unique_ptr<NcclMarks> make_marks() = 0;
};

// The one entry; its name changes with what stands above. The library is never closed.
using OpenNccl = NcclLibrary* (*)();
inline constexpr const char* kOpenNccl = "trireme_open_nccl_1";
inline constexpr const char* kNcclObject = "libtrireme_nccl.so";

}  // namespace trireme
