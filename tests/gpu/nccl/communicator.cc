#include "tests/gpu/nccl/communicator.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include <mpi.h>

#include "tests/gpu/nccl/mpi_gate.h"

namespace trireme::gpu::nccl {
namespace {

constexpr std::chrono::microseconds kBetweenLooks{50};

std::mutex all_mutex;
std::vector<std::unique_ptr<ncclComm>>& all() {
  static auto* const communicators = new std::vector<std::unique_ptr<ncclComm>>;
  return *communicators;
}

// Of an operation of a nonblocking communicator: does it answer ncclInProgress?
bool answers_later(const ncclComm& comm) {
  if (comm.blocking) return false;
  if (comm.tickets == 0) return true;
  return (Settings::of_process().seed * 0x9e3779b97f4a7c15U + comm.tickets * 0xbf58476d1ce4e5b9U) >> 61 == 0;
}

void tell_others(const ncclComm& comm) {
  for (int peer = 0; peer < comm.ranks; ++peer) {
    if (peer == comm.rank) continue;
    auto* notice = new std::int32_t(comm.rank);  // MPI reads it when it will
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(notice, sizeof *notice, MPI_BYTE, comm.world[static_cast<std::size_t>(peer)], comm.tag + 1,
              MPI_COMM_WORLD, &request);
    MPI_Request_free(&request);
  }
}

void enqueue(ncclComm* comm, std::vector<Task> tasks, CUstream_st* stream) {
  Gpu& gpu = Gpu::of_process();
  std::string label = std::string("NCCL ") + name(tasks.front().kind);
  if (tasks.size() > 1) label.append(" and ").append(std::to_string(tasks.size() - 1)).append(" more");
  std::shared_ptr<Running> running;
  {
    const std::lock_guard lock(comm->mutex);
    running = std::make_shared<Running>(comm, std::move(tasks), comm->tickets++);
    ++comm->outstanding;
  }
  Report::of_process().count("collectives");
  gpu.streams.enqueue(stream, label + " on stream " + std::to_string(stream->id),
                      [&gpu, running](const Operation& operation) { return running->poll(gpu, operation); });
}

}  // namespace

std::string communicators_left_behind() {
  const std::lock_guard lock(all_mutex);
  int alive = 0;
  for (const auto& comm : all()) alive += comm->destroyed || comm->aborted ? 0 : 1;
  return alive == 0 ? "" : std::to_string(alive) + " NCCL communicator(s) were not destroyed";
}

ncclComm* make_communicator(int ranks, int rank, const ncclConfig_t* config) {
  auto comm = std::make_unique<ncclComm>();
  comm->ranks = ranks;
  comm->rank = rank;
  comm->device = Gpu::current_device();
  comm->blocking = config == nullptr || config->blocking != 0;  // undefined: blocking
  const std::lock_guard lock(all_mutex);
  if (all().empty()) look_for_leaks_too(communicators_left_behind);
  return all().emplace_back(std::move(comm)).get();
}

ncclComm* check(ncclComm_t handle) {
  const std::lock_guard lock(all_mutex);
  for (const auto& comm : all()) {
    if (comm.get() != handle) continue;
    if (comm->destroyed || comm->aborted)
      throw Failure(ncclInvalidArgument, "the communicator was destroyed or aborted");
    return comm.get();
  }
  throw Failure(ncclInvalidArgument, hex(handle) + " is no communicator");
}

void check_usable(ncclComm* comm) {
  const std::lock_guard lock(comm->mutex);
  if (comm->finalized) throw Failure(ncclInvalidUsage, "the communicator was finalized");
  if (comm->state == ncclInProgress || !comm->pending.empty())
    throw Failure(ncclInvalidUsage,
                  "the last call answered ncclInProgress; ask ncclCommGetAsyncError until it answers ncclSuccess");
  if (comm->state != ncclSuccess) throw Failure(comm->state, comm->error);
}

void fail(ncclComm* comm, ncclResult_t code, const std::string& why) {
  const std::lock_guard lock(comm->mutex);
  comm->state = code;
  comm->error = why;
}

void wait_until(ncclComm* comm, const std::function<bool()>& done) {
  for (;;) {
    {
      const std::lock_guard lock(comm->mutex);
      if (done()) return;
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

ncclResult_t async_state(ncclComm* comm) {
  std::deque<std::function<void()>> pending;
  {
    const std::lock_guard lock(comm->mutex);
    if (comm->state != ncclSuccess) return comm->state;
    if (comm->finalized && comm->outstanding > 0) return ncclInProgress;
    if (comm->pending.empty()) return ncclSuccess;
    if (!std::exchange(comm->asked_once, true)) return ncclInProgress;
    pending.swap(comm->pending);
    comm->asked_once = false;
  }
  for (const auto& task : pending) task();
  return ncclSuccess;
}

ncclResult_t submit(ncclComm* comm, std::vector<Task> tasks, cudaStream_t handle) {
  Gpu& gpu = Gpu::of_process().ready();
  CUstream_st* stream = gpu.stream(handle);
  if (stream->device != comm->device)
    throw Failure(ncclInvalidUsage, "the stream belongs to another device than the communicator");
  {
    const std::lock_guard lock(comm->mutex);
    if (answers_later(*comm)) {
      comm->pending.push_back([comm, tasks, stream] { enqueue(comm, tasks, stream); });
      return ncclInProgress;
    }
  }
  enqueue(comm, std::move(tasks), stream);
  return ncclSuccess;
}

void watch(ncclComm* comm) {
  Gpu::of_process().streams.run_beside([comm] {
    {
      const std::lock_guard lock(comm->mutex);
      if (comm->destroyed || comm->aborted) return Progress::kDone;
    }
    const MpiUse use;
    if (!use.open()) return Progress::kDone;
    int arrived = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, comm->tag + 1, MPI_COMM_WORLD, &arrived, &status);
    if (arrived != 0) {
      std::int32_t rank = 0;
      MPI_Recv(&rank, sizeof rank, MPI_BYTE, status.MPI_SOURCE, comm->tag + 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      fail(comm, ncclRemoteError, "rank " + std::to_string(rank) + " of the communicator has failed or aborted");
    }
    return Progress::kLater;
  });
}

void finalize(ncclComm* comm) {
  check_usable(comm);
  {
    const std::lock_guard lock(comm->mutex);
    comm->finalized = true;
  }
  if (comm->blocking) wait_until(comm, [&] { return comm->outstanding == 0; });
}

void destroy(ncclComm* comm) {
  wait_until(comm, [&] { return comm->state != ncclInProgress; });
  async_state(comm);
  async_state(comm);  // what nobody asked for
  wait_until(comm, [&] { return comm->outstanding == 0; });
  const std::lock_guard lock(comm->mutex);
  comm->destroyed = true;
}

void abort(ncclComm* comm) {
  {
    const std::lock_guard lock(comm->mutex);
    comm->aborted = true;
    comm->pending.clear();
    if (!comm->world.empty()) tell_others(*comm);
  }
  Gpu::of_process().streams.look_again();
  wait_until(comm, [&] { return comm->outstanding == 0; });
}

bool takes_no_part(ncclComm* comm, std::uint64_t number) {
  const char* setting = std::getenv("TRIREME_GPU_NCCL_FAIL");
  const char* rank = std::getenv("TRIREME_GPU_NCCL_FAIL_RANK");
  if (setting == nullptr || *setting == '\0') return false;
  const char* at = std::strchr(setting, '@');
  int world = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &world);
  if (at == nullptr || number != std::strtoull(at + 1, nullptr, 10) || world != (rank != nullptr ? std::atoi(rank) : 0))
    return false;
  if (std::strncmp(setting, "dead", 4) == 0) tell_others(*comm);
  return true;
}

}  // namespace trireme::gpu::nccl
