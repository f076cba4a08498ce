// The GPU's thread looks for messages all the time, and MPI may not be called once the program is in MPI_Finalize.
// Every call from that thread is made through the gate, which MPI_Finalize closes before it does anything else (by the
// attribute of MPI_COMM_SELF that MPI deletes first).
#pragma once

#include <mutex>

namespace trireme::gpu::nccl {

// if (MpiUse use; use.open()) ... : open while it lives.
class MpiUse {
 public:
  MpiUse();
  bool open() const;

 private:
  std::unique_lock<std::mutex> lock_;
};

// Once, with MPI initialised. `at_finalize` is called as MPI_Finalize begins, with the gate closed.
void close_at_finalize(void (*at_finalize)());

}  // namespace trireme::gpu::nccl
