#include "tests/gpu/nccl/mpi_gate.h"

#include <mpi.h>

namespace trireme::gpu::nccl {
namespace {

std::mutex gate;
bool closed = false;
void (*call_at_finalize)() = nullptr;

int on_finalize(MPI_Comm, int, void*, void*) {
  {
    const std::lock_guard lock(gate);
    closed = true;
  }
  call_at_finalize();
  return MPI_SUCCESS;
}

}  // namespace

MpiUse::MpiUse() : lock_(gate) {}
bool MpiUse::open() const { return !closed; }

void close_at_finalize(void (*at_finalize)()) {
  call_at_finalize = at_finalize;
  int key = MPI_KEYVAL_INVALID;
  MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_finalize, &key, nullptr);
  MPI_Comm_set_attr(MPI_COMM_SELF, key, nullptr);
}

}  // namespace trireme::gpu::nccl
