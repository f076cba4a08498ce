#include "tests/gpu/nccl/group.h"

#include <map>
#include <utility>
#include <vector>

namespace trireme::gpu::nccl {
namespace {

struct Part {
  cudaStream_t stream = nullptr;
  std::vector<Task> tasks{};
};

struct Group {
  int depth = 0;
  std::vector<std::pair<ncclComm*, Part>> parts{};  // in the order of their first call
  std::vector<ncclComm*> making{};
};
thread_local Group group;

ncclResult_t wait_for(ncclComm* comm) {
  if (!comm->blocking) return ncclInProgress;
  wait_until(comm, [&] { return comm->state != ncclInProgress; });
  const std::lock_guard lock(comm->mutex);
  if (comm->state != ncclSuccess) throw Failure(comm->state, comm->error);
  return ncclSuccess;
}

}  // namespace

void group_start() { ++group.depth; }

ncclResult_t group_end() {
  if (group.depth == 0) throw Failure(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
  if (--group.depth > 0) return ncclSuccess;
  const Group ended = std::exchange(group, Group{});
  ncclResult_t result = ncclSuccess;
  for (ncclComm* comm : ended.making)
    if (wait_for(comm) == ncclInProgress) result = ncclInProgress;
  for (const auto& [comm, part] : ended.parts)
    if (submit(comm, part.tasks, part.stream) == ncclInProgress) result = ncclInProgress;
  return result;
}

ncclResult_t add(ncclComm* comm, const Task& task, cudaStream_t stream) {
  check_usable(comm);
  if (group.depth == 0) return submit(comm, {task}, stream);
  for (auto& [other, part] : group.parts) {
    if (other != comm) continue;
    if (part.stream != stream)
      throw Failure(ncclInvalidUsage, "one communicator on two streams within a group is not implemented here");
    part.tasks.push_back(task);
    return ncclSuccess;
  }
  group.parts.push_back({comm, {stream, {task}}});
  return ncclSuccess;
}

ncclResult_t finish_making(ncclComm* comm) {
  if (group.depth == 0) return wait_for(comm);
  group.making.push_back(comm);
  return comm->blocking ? ncclSuccess : ncclInProgress;
}

}  // namespace trireme::gpu::nccl
