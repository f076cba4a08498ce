// A collective on a GPU that its peers never join runs for ever, on a stream, where nobody throws. So a thread of each
// rank looks, every few milliseconds, at what its communicators have put on streams: whether NCCL reports an error,
// whether a process of this host has died, whether the ranks of this host are in unlike calls of one group, and whether
// a call that its stream has reached is not over by the timeout. Whatever it finds, it aborts all of this rank's links,
// so that streams go on, and the PeerError that names peer, call and tensor comes out of every later wait of the device
// and out of every later call.
//
// The ledger of the host (host_ledger.h) says where the others are: the watch writes into it the call that a group's
// stream is in. Its numbers count a group's collectives, so that two ranks' calls can be told to be the same one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cuda/core/device.h"
#include "parallel/comm/call.h"
#include "parallel/comm/host_ledger.h"
#include "parallel/comm/nccl/link.h"

namespace trireme {

class NcclWatch {
 public:
  // `ledger` may be null (one rank, or tests); all of them outlive this. `last_resort` ends the process with a
  // failure's text: it is called when the process is still there kPatience after one, for a thread may wait for what
  // never ends.
  NcclWatch(NcclLibrary& library, Device& device, HostLedger* ledger, std::chrono::milliseconds timeout,
            std::function<void(const std::string&)> last_resort);
  ~NcclWatch();
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;

  static constexpr auto kPatience = std::chrono::seconds(3);

  // What one communicator has under way.
  struct Line;
  std::shared_ptr<Line> open(NcclLink& link, const Members& members, int rank);
  void close(Line& line);  // before its link goes

  // A call on a stream: it begins where the stream is now, and ends where it is then. `peers` of the group take part in
  // it, or all where there are none: they are who a report names.
  void begin(Line& line, const Call& call, Stream stream, std::vector<int> peers = {});
  void end(Line& line, Stream stream);

  // Throws the failure, if there is one.
  void check();
  // Whose caller has met it himself; throws what was first.
  [[noreturn]] void fail(const std::string& what);

 private:
  void look_out();
  void look_at(Line& line);
  std::string others(const Line& line, const Call& call, const std::vector<int>& peers = {}) const;
  void raise(const std::string& what);

  NcclLibrary& library_;
  Device& device_;
  HostLedger* ledger_;
  const std::chrono::milliseconds timeout_;
  const std::function<void(const std::string&)> last_resort_;
  std::unique_ptr<NcclMarks> marks_;
  Stream alarm_;  // on which the failure is thrown

  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Line>> lines_;
  std::string failure_;  // the first; empty: none
  bool ending_ = false;
  std::condition_variable_any ended_;
  std::thread thread_, fuse_;
};

}  // namespace trireme
