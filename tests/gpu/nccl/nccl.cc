// NCCL's C functions. What they do stands in communicator.h, operations.h, registrar.h and group.h.
#include <string>

#include <nccl.h>

#include "tests/gpu/nccl/communicator.h"
#include "tests/gpu/nccl/group.h"
#include "tests/gpu/nccl/registrar.h"

namespace {

using namespace trireme::gpu::nccl;
using trireme::gpu::Gpu;
using trireme::gpu::Refusal;
using trireme::gpu::say;

constexpr unsigned kConfigMagic = 0xcafebeef;
thread_local std::string last_error;

template <class Body>
ncclResult_t call(const char* function, const Body& body) {
  const auto refuse = [&](ncclResult_t code, const char* why) {
    last_error = why;
    say(std::string(function) + " refused with " + ncclGetErrorString(code) + ": " + why);
    return code;
  };
  try {
    return body();
  } catch (const Failure& failure) {
    return refuse(failure.code, failure.what());
  } catch (const Refusal& refusal) {
    return refuse(ncclUnhandledCudaError, refusal.what());
  } catch (const std::exception& error) {
    trireme::gpu::end_with_finding(std::string(function) + ": " + error.what());
  }
}

void check_config(const ncclConfig_t* config) {
  if (config != nullptr && config->magic != kConfigMagic)
    throw Failure(ncclInvalidArgument, "the ncclConfig_t was not initialised with NCCL_CONFIG_INITIALIZER");
}

ncclResult_t enqueue(const char* function, ncclComm_t handle, const Task& task, cudaStream_t stream) {
  return call(function, [&] {
    ncclComm* comm = check(handle);
    if (bytes_of(task.type) == 0)
      throw Failure(ncclInvalidArgument, "data type " + std::to_string(task.type) + " is not implemented");
    if (task.op < ncclSum || task.op > ncclAvg)
      throw Failure(ncclInvalidArgument, "reduction " + std::to_string(task.op) + " is not implemented");
    if (task.peer < 0 || task.peer >= comm->ranks)
      throw Failure(ncclInvalidArgument,
                    "there is no rank " + std::to_string(task.peer) + " among " + std::to_string(comm->ranks));
    return add(comm, task, stream);
  });
}

}  // namespace

extern "C" {

const char* ncclGetErrorString(ncclResult_t code) {
  switch (code) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error (run with NCCL_DEBUG=INFO for details)";
    case ncclSystemError:
      return "unhandled system error (run with NCCL_DEBUG=INFO for details)";
    case ncclInternalError:
      return "internal error - please report this issue to the NCCL developers";
    case ncclInvalidArgument:
      return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case ncclInvalidUsage:
      return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t comm) {
  if (comm != nullptr) {
    const std::lock_guard lock(comm->mutex);
    if (!comm->error.empty()) last_error = comm->error;
  }
  return last_error.c_str();
}

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  return call(__func__, [&] {
    write_identity(new_identity(), *id);
    return ncclSuccess;
  });
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  return call(__func__, [&] {
    Gpu::of_process().ready();
    check_config(config);
    if (ranks < 1 || rank < 0 || rank >= ranks)
      throw Failure(ncclInvalidArgument, "rank " + std::to_string(rank) + " of " + std::to_string(ranks));
    Application application;
    application.identity = read_identity(id);
    *comm = make_communicator(ranks, rank, config);
    apply(*comm, application);
    return finish_making(*comm);
  });
}

ncclResult_t ncclCommInitRank(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(comm, ranks, id, rank, nullptr);
}

ncclResult_t ncclCommSplit(ncclComm_t handle, int color, int key, ncclComm_t* made, ncclConfig_t* config) {
  return call(__func__, [&] {
    ncclComm* parent = check(handle);
    check_usable(parent);
    check_config(config);
    ncclConfig_t inherited = NCCL_CONFIG_INITIALIZER;
    inherited.blocking = parent->blocking ? 1 : 0;
    Application application;
    application.parent = parent;
    application.number = parent->splits++;
    application.color = color;
    application.key = key;
    ncclComm* comm = make_communicator(0, 0, config != nullptr ? config : &inherited);
    apply(comm, application);
    if (color == NCCL_SPLIT_NOCOLOR) {
      comm->destroyed = true;  // nobody holds it
      *made = nullptr;
      return ncclSuccess;
    }
    *made = comm;
    return finish_making(comm);
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t handle, ncclResult_t* state) {
  return call(__func__, [&] {
    *state = async_state(check(handle));
    return ncclSuccess;
  });
}

ncclResult_t ncclCommFinalize(ncclComm_t handle) {
  return call(__func__, [&] {
    ncclComm* comm = check(handle);
    finalize(comm);
    return comm->blocking ? ncclSuccess : ncclInProgress;
  });
}

ncclResult_t ncclCommDestroy(ncclComm_t handle) {
  return call(__func__, [&] {
    destroy(check(handle));
    return ncclSuccess;
  });
}

ncclResult_t ncclCommAbort(ncclComm_t handle) {
  return call(__func__, [&] {
    abort(check(handle));
    return ncclSuccess;
  });
}

ncclResult_t ncclCommCount(const ncclComm_t handle, int* ranks) {
  return call(__func__, [&] {
    *ranks = check(handle)->ranks;
    return ncclSuccess;
  });
}

ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* rank) {
  return call(__func__, [&] {
    *rank = check(handle)->rank;
    return ncclSuccess;
  });
}

ncclResult_t ncclCommCuDevice(const ncclComm_t handle, int* device) {
  return call(__func__, [&] {
    *device = check(handle)->device;
    return ncclSuccess;
  });
}

ncclResult_t ncclGroupStart() {
  group_start();
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  return call(__func__, [] { return group_end(); });
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  return enqueue(__func__, comm, {Kind::kAllReduce, from, to, count, type, op, 0}, stream);
}

ncclResult_t ncclReduceScatter(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t comm, cudaStream_t stream) {
  return enqueue(__func__, comm, {Kind::kReduceScatter, from, to, count, type, op, 0}, stream);
}

ncclResult_t ncclAllGather(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclComm_t comm,
                           cudaStream_t stream) {
  return enqueue(__func__, comm, {Kind::kAllGather, from, to, count, type, ncclSum, 0}, stream);
}

ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return enqueue(__func__, comm, {Kind::kBroadcast, from, to, count, type, ncclSum, root}, stream);
}

ncclResult_t ncclReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t op, int root,
                        ncclComm_t comm, cudaStream_t stream) {
  return enqueue(__func__, comm, {Kind::kReduce, from, to, count, type, op, root}, stream);
}

ncclResult_t ncclSend(const void* from, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return enqueue(__func__, comm, {Kind::kSend, from, nullptr, count, type, ncclSum, peer}, stream);
}

ncclResult_t ncclRecv(void* to, std::size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return enqueue(__func__, comm, {Kind::kReceive, nullptr, to, count, type, ncclSum, peer}, stream);
}

}  // extern "C"
