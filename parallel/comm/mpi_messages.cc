#include "parallel/comm/mpi_messages.h"

#include <algorithm>
#include <memory>
#include <thread>

#include "monitoring/error.h"

namespace trireme {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;  // of one MPI message; its counts are ints

}  // namespace

void check_mpi(int result, const char* what) {
  if (result == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(result, text, &length);
  throw PeerError(std::string(what) + " failed: " + text + "; see what mpirun says of the ranks and their hosts");
}

MpiMessages::MpiMessages(MPI_Comm comm, Members members, std::chrono::milliseconds timeout, const HostLedger& ledger)
    : comm_(comm), members_(std::move(members)), timeout_(timeout), ledger_(ledger), last_(members_.ranks.size()) {
  check_mpi(MPI_Comm_rank(comm, &rank_), "MPI_Comm_rank");
}

void MpiMessages::fail(const std::string& what) const {
  const std::string elsewhere = ledger_.elsewhere(members_);
  throw PeerError(elsewhere.empty() ? what : what + ". Elsewhere " + elsewhere);
}

void MpiMessages::send(Batch& batch, Kind kind, int peer, const void* from, std::size_t bytes) {
  const auto* at = static_cast<const std::byte*>(from);
  for (; bytes > 0; at += std::min(bytes, kMostBytes), bytes -= std::min(bytes, kMostBytes)) {
    batch.peers_.push_back(peer);
    check_mpi(MPI_Isend(at, static_cast<int>(std::min(bytes, kMostBytes)), MPI_BYTE, peer, static_cast<int>(kind),
                        comm_, &batch.requests_.emplace_back()),
              "MPI_Isend");
  }
}

void MpiMessages::receive(Batch& batch, Kind kind, int peer, void* to, std::size_t bytes) {
  auto* at = static_cast<std::byte*>(to);
  for (; bytes > 0; at += std::min(bytes, kMostBytes), bytes -= std::min(bytes, kMostBytes)) {
    batch.peers_.push_back(peer);
    check_mpi(MPI_Irecv(at, static_cast<int>(std::min(bytes, kMostBytes)), MPI_BYTE, peer, static_cast<int>(kind),
                        comm_, &batch.requests_.emplace_back()),
              "MPI_Irecv");
  }
}

bool MpiMessages::poll(Batch& batch) {
  if (batch.empty()) return true;
  int done = 0;
  check_mpi(MPI_Testall(static_cast<int>(batch.requests_.size()), batch.requests_.data(), &done, MPI_STATUSES_IGNORE),
            "a message");
  if (done == 0) return false;
  batch.requests_.clear();
  batch.peers_.clear();
  return true;
}

void MpiMessages::wait_until(const std::function<bool()>& done, const std::function<std::string()>& report) {
  constexpr int kYields = 32;
  constexpr std::chrono::microseconds kShortestNap(10), kLongestNap(200);
  const auto begin = std::chrono::steady_clock::now();
  std::chrono::microseconds nap = kShortestNap;
  for (int polls = 0; !done(); ++polls) {
    if (polls < kYields) {
      std::this_thread::yield();
      continue;
    }
    const auto waited = std::chrono::steady_clock::now() - begin;
    if (const std::string lost = ledger_.lost(waited); !lost.empty()) fail(lost + ". " + report());
    if (waited > timeout_)
      fail(members_.rank(rank_) + " has waited for " + std::to_string(timeout_.count()) + " ms. " + report());
    std::this_thread::sleep_for(nap);
    nap = std::min(nap * 2, kLongestNap);
  }
}

void MpiMessages::wait(Batch& batch, const Call& call) {
  wait_until([&] { return poll(batch); },
             [&] {
               std::vector<int> missing;  // MPI_Testall touches no request until all are done
               for (std::size_t i = 0; i < batch.requests_.size(); ++i) {
                 int done = 0;
                 MPI_Request_get_status(batch.requests_[i], &done, MPI_STATUS_IGNORE);
                 if (done == 0) missing.push_back(batch.peers_[i]);
               }
               std::sort(missing.begin(), missing.end());
               missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
               std::string text = "Nothing came from or went to";
               for (int peer : missing) text += " " + members_.rank(peer);
               return text + " within " + to_string(call, members_);
             });
}

void MpiMessages::meet(const Call& call) {
  // On the heap, and left there if this throws: messages may still arrive.
  struct Meeting {
    Call mine;
    std::vector<Call> theirs;
    std::vector<Batch> from, to;
  };
  auto meeting = std::make_unique<Meeting>();
  const auto ranks = members_.ranks.size();
  meeting->mine = call;
  meeting->theirs.resize(ranks);
  meeting->from.resize(ranks);
  meeting->to.resize(ranks);
  for (std::size_t i = 1; i < ranks; ++i) {
    const std::size_t peer = (static_cast<std::size_t>(rank_) + i) % ranks;
    receive(meeting->from[peer], Kind::kMeeting, static_cast<int>(peer), &meeting->theirs[peer], sizeof(Call));
    send(meeting->to[peer], Kind::kMeeting, static_cast<int>(peer), &meeting->mine, sizeof(Call));
  }
  meeting->theirs[static_cast<std::size_t>(rank_)] = call;
  last_[static_cast<std::size_t>(rank_)] = call;

  const auto report = [&] {
    std::string text;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      text += (rank ? "; " : "") + members_.rank(static_cast<int>(rank));
      if (meeting->from[rank].empty())
        text += " is in " + to_string(meeting->theirs[rank], members_);
      else if (last_[rank].op == Op::kNone)
        text += " has made no call yet";
      else
        text += " has not come; its last call was " + to_string(last_[rank], members_);
    }
    return text;
  };
  std::vector<bool> checked(ranks, false);
  try {
    wait_until(
        [&] {
          bool all = true;
          for (std::size_t peer = 0; peer < ranks; ++peer) {
            if (!poll(meeting->to[peer])) all = false;
            if (checked[peer]) continue;
            if (!poll(meeting->from[peer])) {
              all = false;
              continue;
            }
            checked[peer] = true;
            if (!(meeting->theirs[peer] == call))
              fail(members_.ranks_of(static_cast<int>(peer), rank_) + " make different calls. " + report());
          }
          return all;
        },
        report);
  } catch (...) {
    static_cast<void>(meeting.release());
    throw;
  }
  last_ = meeting->theirs;
}

}  // namespace trireme
