// A communicator: who is in it, what state it is in, and whose turn it is. State changes come from three sides (the
// calls of the program, the GPU's thread, other ranks' notices); all meet under `mutex`.
//
// A nonblocking communicator is hard on its user on purpose: whatever may answer ncclInProgress does so sometimes (the
// first operation always), and the operation is put on its stream only when ncclCommGetAsyncError has answered
// ncclSuccess, as the real one's documentation allows.
//
// Communicators are never freed, so that an old handle can be refused.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <nccl.h>

#include "tests/gpu/nccl/operations.h"
#include "tests/gpu/runtime/gpu.h"

struct ncclComm {
  int ranks = 0;
  int rank = 0;
  int device = 0;
  bool blocking = true;
  std::vector<int> world;  // ranks of MPI_COMM_WORLD
  int tag = 0;             // of operations' messages; tag + 1: notices of failure

  std::mutex mutex;  // everything below
  ncclResult_t state = ncclInProgress;
  std::string error;  // what ncclGetLastError says
  bool aborted = false;
  bool destroyed = false;
  bool finalized = false;
  int outstanding = 0;                        // operations enqueued and not done
  std::uint64_t tickets = 0;                  // given out
  std::uint64_t turn = 0;                     // ticket that runs next
  std::uint64_t operations = 0;               // begun; equal on all ranks where the program is right
  std::uint64_t splits = 0;                   // calls of ncclCommSplit so far
  bool asked_once = false;                    // since there is something pending
  std::deque<std::function<void()>> pending;  // to be enqueued once the program has asked
};

namespace trireme::gpu::nccl {

// What a C function of NCCL's throws; its caller makes it the result and one line of explanation.
struct Failure : std::runtime_error {
  Failure(ncclResult_t result, const std::string& why) : std::runtime_error(why), code(result) {}
  ncclResult_t code;
};

ncclComm* make_communicator(int ranks, int rank, const ncclConfig_t* config);
ncclComm* check(ncclComm_t handle);  // throws Failure where it is none, or was destroyed or aborted
void check_usable(ncclComm* comm);   // throws Failure while it is not ready, or after an error

void fail(ncclComm* comm, ncclResult_t code, const std::string& why);  // from any thread
void wait_until(ncclComm* comm, const std::function<bool()>& done);    // with comm->mutex not held; done: under it

std::string communicators_left_behind();  // "" if none

ncclResult_t async_state(ncclComm* comm);  // as ncclCommGetAsyncError answers; enqueues what was pending

// Puts a group's tasks of one communicator on a stream, at once or when the program asks. Answers ncclInProgress or
// ncclSuccess.
ncclResult_t submit(ncclComm* comm, std::vector<Task> tasks, cudaStream_t stream);

void finalize(ncclComm* comm);
void destroy(ncclComm* comm);
void abort(ncclComm* comm);

// Watches for other ranks' notices of failure, from the GPU's thread.
void watch(ncclComm* comm);

// TRIREME_GPU_NCCL_FAIL=silent@N or dead@N (of the rank TRIREME_GPU_NCCL_FAIL_RANK): from its Nth operation on this
// process takes no part; `dead` tells the others. Called as operation `number` begins.
bool takes_no_part(ncclComm* comm, std::uint64_t number);

}  // namespace trireme::gpu::nccl
