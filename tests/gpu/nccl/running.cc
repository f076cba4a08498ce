// The steps of each operation. See operations.h.
#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/gpu/nccl/communicator.h"
#include "tests/gpu/nccl/mpi_gate.h"
#include "tests/gpu/nccl/operations.h"

namespace trireme::gpu::nccl {
namespace {

Notice notice_of(const Task& task, std::uint64_t number) {
  Notice notice;
  notice.kind = static_cast<int>(task.kind);
  notice.type = task.type;
  const bool reduces = task.kind == Kind::kAllReduce || task.kind == Kind::kReduceScatter || task.kind == Kind::kReduce;
  notice.op = reduces ? static_cast<int>(task.op) : 0;
  notice.root = task.kind == Kind::kBroadcast || task.kind == Kind::kReduce ? task.peer : 0;
  notice.count = task.count;
  notice.number = number;
  return notice;
}

Notice with_bytes(Notice notice, std::size_t bytes) {
  notice.bytes = bytes;
  return notice;
}

}  // namespace

Running::Running(ncclComm* comm, std::vector<Task> tasks, std::uint64_t ticket)
    : comm_(comm), tasks_(std::move(tasks)), ticket_(ticket) {}

Progress Running::poll(Gpu& gpu, const Operation& operation) {
  {
    const std::lock_guard lock(comm_->mutex);
    if (comm_->aborted) {
      exchange_.reset();
      --comm_->outstanding;
      abandon(gpu, operation);
      return Progress::kDone;
    }
    // After an error an operation never ends by itself, as on a GPU; until then it waits for its turn.
    if (comm_->state != ncclSuccess || comm_->turn != ticket_) return Progress::kLater;
  }
  const MpiUse use;
  if (!use.open()) end_with_finding(operation.label + " is under way at MPI_Finalize");
  if (!planned_) plan(gpu, operation);
  if (silent_) return Progress::kLater;
  while (!steps_.empty()) {
    Step& step = steps_.front();
    if (!exchange_) {
      exchange_ = std::make_unique<Exchange>(comm_->world, comm_->rank, comm_->tag);
      step.begin(*exchange_);
    }
    if (!exchange_->poll()) return Progress::kLater;
    if (step.finish) step.finish();
    exchange_.reset();
    steps_.pop_front();
  }
  const std::lock_guard lock(comm_->mutex);
  ++comm_->turn;
  --comm_->outstanding;
  return Progress::kDone;
}

// What it would have written nobody knows; kernels that are queued behind it run all the same, as on a GPU.
void Running::abandon(Gpu& gpu, const Operation& operation) const {
  for (const Task& task : tasks_) {
    const bool is_root = comm_->rank == task.peer;
    const bool writes = task.kind != Kind::kSend && (task.kind != Kind::kReduce || is_root) &&
                        (task.kind != Kind::kBroadcast || !is_root || task.to != task.from);
    const std::size_t parts = task.kind == Kind::kAllGather ? static_cast<std::size_t>(comm_->ranks) : 1;
    if (writes) gpu.global.abandon(operation, task.to, parts * task.count * bytes_of(task.type));
  }
}

void Running::plan(Gpu& gpu, const Operation& operation) {
  planned_ = true;
  plan_point_to_point(gpu, operation);
  for (const Task& task : tasks_) {
    if (task.kind == Kind::kSend || task.kind == Kind::kReceive) continue;
    const std::uint64_t number = ++comm_->operations;
    silent_ = silent_ || takes_no_part(comm_, number);
    plan_collective(gpu, operation, task, number);
  }
}

void Running::plan_point_to_point(Gpu& gpu, const Operation& operation) {
  Step step;
  std::vector<std::pair<Bytes, const Task*>> arriving;
  std::vector<std::pair<Bytes, const Task*>> leaving;
  for (const Task& task : tasks_) {
    const std::size_t bytes = task.count * bytes_of(task.type);
    if (task.kind == Kind::kSend) {
      const std::byte* from = bytes == 0 ? nullptr : gpu.global.read(operation, task.from, bytes);
      leaving.emplace_back(std::make_shared<std::vector<std::byte>>(from, from + bytes), &task);
    } else if (task.kind == Kind::kReceive) {
      arriving.emplace_back(std::make_shared<std::vector<std::byte>>(bytes), &task);
    }
  }
  if (arriving.empty() && leaving.empty()) return;
  step.begin = [arriving, leaving](Exchange& exchange) {
    for (const auto& [bytes, task] : leaving)
      exchange.send(task->peer, with_bytes(notice_of(*task, 0), bytes->size()), bytes->data());
    for (const auto& [bytes, task] : arriving)
      exchange.receive(task->peer, with_bytes(notice_of(*task, 0), bytes->size()), bytes->data());
  };
  step.finish = [&gpu, &operation, arriving] {
    for (const auto& [bytes, task] : arriving)
      if (!bytes->empty())
        std::memcpy(gpu.global.write(operation, task->to, bytes->size()), bytes->data(), bytes->size());
  };
  steps_.push_back(std::move(step));
}

// Parts: what lies between bounds[r] and bounds[r + 1] elements is reduced by rank r. Each step is finished before the
// next begins, so that `result` is whole where it is used.
void Running::plan_parts(const Notice& notice, const Bytes& mine, const Bytes& result, const Task& task,
                         std::vector<std::size_t> bounds, bool only_to_root) {
  const std::size_t size = bytes_of(task.type);
  const auto me = static_cast<std::size_t>(comm_->rank);
  auto arrived = std::make_shared<std::vector<std::vector<std::byte>>>(static_cast<std::size_t>(comm_->ranks));
  const auto part_bytes = [bounds, size](std::size_t rank) { return (bounds[rank + 1] - bounds[rank]) * size; };
  steps_.push_back(
      {[this, notice, mine, bounds, size, me, arrived, part_bytes, only_to_root, task](Exchange& exchange) {
         for (std::size_t peer = 0; peer < arrived->size(); ++peer) {
           if (!only_to_root || static_cast<int>(peer) == task.peer)
             exchange.send(static_cast<int>(peer), with_bytes(notice, part_bytes(peer)),
                           mine->data() + bounds[peer] * size);
           if (only_to_root && comm_->rank != task.peer) continue;
           (*arrived)[peer].resize(part_bytes(me));
           exchange.receive(static_cast<int>(peer), with_bytes(notice, part_bytes(me)), (*arrived)[peer].data());
         }
       },
       [this, bounds, size, me, arrived, result, task, only_to_root] {
         if (only_to_root && comm_->rank != task.peer) return;
         Accumulator sum(task.type, task.op, bounds[me + 1] - bounds[me]);
         for (const auto& part : *arrived) sum.add(part.data());
         sum.finish(result->data() + bounds[me] * size, comm_->ranks);
       }});
}

// `all` holds this rank's part at its place; then everybody's. Parts of `part` bytes, the last ones shorter or empty.
void Running::plan_gather(const Notice& notice, const Bytes& all, std::size_t part) {
  const auto bytes = [all, part](std::size_t rank) {
    const std::size_t begin = std::min(rank * part, all->size());
    return std::min(part, all->size() - begin);
  };
  steps_.push_back({[this, notice, all, part, bytes](Exchange& exchange) {
                      const auto me = static_cast<std::size_t>(comm_->rank);
                      for (std::size_t peer = 0; peer < comm_->world.size(); ++peer) {
                        if (peer == me) continue;
                        exchange.send(static_cast<int>(peer), with_bytes(notice, bytes(me)),
                                      all->data() + std::min(me * part, all->size()));
                        exchange.receive(static_cast<int>(peer), with_bytes(notice, bytes(peer)),
                                         all->data() + std::min(peer * part, all->size()));
                      }
                    },
                    {}});
}

void Running::plan_collective(Gpu& gpu, const Operation& operation, const Task& task, std::uint64_t number) {
  const Notice notice = notice_of(task, number);
  const auto ranks = static_cast<std::size_t>(comm_->ranks);
  const auto me = static_cast<std::size_t>(comm_->rank);
  const std::size_t bytes = task.count * bytes_of(task.type);
  const bool is_root = comm_->rank == task.peer;
  const bool scatters = task.kind == Kind::kReduceScatter;
  const bool gathers = task.kind == Kind::kAllGather;

  steps_.push_back({[notice, ranks](Exchange& exchange) {  // what everybody is about to do
                      for (std::size_t peer = 0; peer < ranks; ++peer) {
                        exchange.send(static_cast<int>(peer), notice, nullptr);
                        exchange.receive(static_cast<int>(peer), notice, nullptr);
                      }
                    },
                    {}});
  const std::size_t read_bytes = task.kind == Kind::kBroadcast && !is_root ? 0 : scatters ? bytes * ranks : bytes;
  const std::size_t result_bytes = gathers ? bytes * ranks : scatters ? bytes * ranks : bytes;
  const bool writes = task.kind != Kind::kReduce || is_root;
  const std::byte* from = read_bytes == 0 ? nullptr : gpu.global.read(operation, task.from, read_bytes);
  const auto mine = std::make_shared<std::vector<std::byte>>(from, from + read_bytes);
  const auto result = std::make_shared<std::vector<std::byte>>(result_bytes);

  std::vector<std::size_t> bounds(ranks + 1, 0);
  const std::size_t part = task.kind == Kind::kReduceScatter ? task.count : (task.count + ranks - 1) / ranks;
  const std::size_t elements = scatters ? task.count * ranks : task.count;
  for (std::size_t rank = 0; rank <= ranks; ++rank) bounds[rank] = std::min(rank * part, elements);
  switch (task.kind) {
    case Kind::kAllReduce:
      plan_parts(notice, mine, result, task, bounds, false);
      plan_gather(notice, result, part * bytes_of(task.type));
      break;
    case Kind::kReduceScatter:
      plan_parts(notice, mine, result, task, bounds, false);
      break;
    case Kind::kReduce:
      for (std::size_t rank = 0; rank <= ranks; ++rank)  // all of it is the root's part
        bounds[rank] = static_cast<int>(rank) <= task.peer ? 0 : task.count;
      plan_parts(notice, mine, result, task, bounds, true);
      break;
    case Kind::kAllGather:
      std::copy(mine->begin(), mine->end(), result->begin() + static_cast<std::ptrdiff_t>(me * bytes));
      plan_gather(notice, result, bytes);
      break;
    case Kind::kBroadcast:
      steps_.push_back({[ranks, is_root, notice, mine, result, bytes, task](Exchange& exchange) {
                          if (is_root) *result = *mine;
                          for (std::size_t peer = 0; is_root && peer < ranks; ++peer)
                            if (static_cast<int>(peer) != task.peer)
                              exchange.send(static_cast<int>(peer), with_bytes(notice, bytes), mine->data());
                          if (!is_root) exchange.receive(task.peer, with_bytes(notice, bytes), result->data());
                        },
                        {}});
      break;
    case Kind::kSend:
    case Kind::kReceive:
      break;
  }
  const std::size_t written = gathers ? bytes * ranks : bytes;
  const std::size_t first = scatters ? me * bytes : 0;
  if (writes && written > 0)
    steps_.push_back({[](Exchange&) {},
                      [&gpu, &operation, result, task, written, first] {
                        std::memcpy(gpu.global.write(operation, task.to, written), result->data() + first, written);
                      }});
}

}  // namespace trireme::gpu::nccl
