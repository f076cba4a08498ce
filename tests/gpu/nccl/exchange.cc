#include "tests/gpu/nccl/exchange.h"

#include <climits>
#include <cstring>
#include <utility>

#include "tests/gpu/nccl/operations.h"
#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu::nccl {
namespace {

int length(std::uint64_t bytes) {
  if (bytes > INT_MAX) end_with_finding("NCCL's stand-in sends at most 2 GiB in one message");
  return static_cast<int>(bytes);
}

}  // namespace

Exchange::~Exchange() {
  for (auto& message : incoming_) {
    if (message->request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&message->request);
    MPI_Request_free(&message->request);
    message.release();  // MPI may still write to it
  }
  for (auto& message : outgoing_) {
    bool under_way = false;
    for (MPI_Request& request : message->requests) {
      if (request == MPI_REQUEST_NULL) continue;
      under_way = true;
      MPI_Request_free(&request);
    }
    if (under_way) message.release();  // MPI still reads from it
  }
}

void Exchange::send(int peer, const Notice& notice, const std::byte* bytes) {
  auto message = std::make_unique<Outgoing>();
  message->peer = peer;
  message->bytes.resize(sizeof notice + notice.bytes);
  std::memcpy(message->bytes.data(), &notice, sizeof notice);
  if (notice.bytes > 0) std::memcpy(message->bytes.data() + sizeof notice, bytes, notice.bytes);
  if (peer != rank_) {
    const int to = ranks_[static_cast<std::size_t>(peer)];
    MPI_Isend(message->bytes.data(), sizeof notice, MPI_BYTE, to, tag_, MPI_COMM_WORLD, &message->requests[0]);
    if (notice.bytes > 0)
      MPI_Isend(message->bytes.data() + sizeof notice, length(notice.bytes), MPI_BYTE, to, tag_, MPI_COMM_WORLD,
                &message->requests[1]);
  }
  outgoing_.push_back(std::move(message));
}

void Exchange::receive(int peer, const Notice& expected, std::byte* bytes) {
  auto message = std::make_unique<Incoming>();
  message->peer = peer;
  message->expected = expected;
  message->bytes = bytes;
  incoming_.push_back(std::move(message));
}

void Exchange::check(const Incoming& message) const {
  const Notice& here = message.expected;
  const Notice& there = message.notice;
  const bool point_to_point = here.kind == static_cast<int>(Kind::kReceive);
  const bool same =
      point_to_point
          ? there.kind == static_cast<int>(Kind::kSend) && there.bytes == here.bytes && there.type == here.type
          : there.kind == here.kind && there.type == here.type && there.op == here.op && there.root == here.root &&
                there.count == here.count && there.number == here.number && there.bytes == here.bytes;
  if (!same)
    end_with_finding("NCCL operations do not match: rank " + std::to_string(rank_) + " is in " + text(here) +
                     ", rank " + std::to_string(message.peer) + " in " + text(there));
}

void Exchange::begin(Incoming& message) {
  message.stage = Incoming::Stage::kNotice;
  if (message.peer == rank_) return;
  MPI_Irecv(&message.notice, sizeof message.notice, MPI_BYTE, ranks_[static_cast<std::size_t>(message.peer)], tag_,
            MPI_COMM_WORLD, &message.request);
}

bool Exchange::advance(Incoming& message) {
  if (message.peer == rank_) {
    for (auto& sent : outgoing_) {
      if (sent->peer != rank_ || sent->taken) continue;
      std::memcpy(&message.notice, sent->bytes.data(), sizeof message.notice);
      check(message);
      if (message.notice.bytes > 0)
        std::memcpy(message.bytes, sent->bytes.data() + sizeof message.notice, message.notice.bytes);
      sent->taken = true;
      message.stage = Incoming::Stage::kDone;
      return true;
    }
    end_with_finding("NCCL: a receive from the own rank has no send beside it in its group");
  }
  int done = 0;
  MPI_Test(&message.request, &done, MPI_STATUS_IGNORE);
  if (done == 0) return false;
  if (message.stage == Incoming::Stage::kNotice) {
    check(message);
    if (message.notice.bytes > 0) {
      message.stage = Incoming::Stage::kPayload;
      MPI_Irecv(message.bytes, length(message.notice.bytes), MPI_BYTE, ranks_[static_cast<std::size_t>(message.peer)],
                tag_, MPI_COMM_WORLD, &message.request);
      return advance(message);
    }
  }
  message.stage = Incoming::Stage::kDone;
  return true;
}

bool Exchange::poll() {
  bool all = true;
  std::vector<bool> busy(ranks_.size(), false);  // peers from whom an earlier message is still to come
  for (const auto& message : incoming_) {
    if (message->stage == Incoming::Stage::kDone) continue;
    const auto peer = static_cast<std::size_t>(message->peer);
    if (!busy[peer]) {
      if (message->stage == Incoming::Stage::kWaiting) begin(*message);
      if (advance(*message)) continue;
    }
    busy[peer] = true;
    all = false;
  }
  for (const auto& message : outgoing_) {
    int done = 0;
    MPI_Testall(2, message->requests, &done, MPI_STATUSES_IGNORE);
    all = all && done != 0;
  }
  return all;
}

}  // namespace trireme::gpu::nccl
