#include "parallel/comm/mpi_groups.h"

#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "parallel/comm/host_transport.h"
#include "parallel/comm/network_transport.h"

namespace trireme {
namespace {

constexpr std::size_t kAlignment = 4096;

std::byte* aligned(void* memory) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  return reinterpret_cast<std::byte*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

}  // namespace

// A shared window of the ranks of one host: the board in rank 0's part, then every rank's staging.
class MpiGroups::HostWindow {
 public:
  HostWindow(MPI_Comm host, int rank, const Members& members, std::chrono::milliseconds timeout,
             const HostLedger& ledger, bool directly) {
    const int size = members.size();
    const std::size_t board_bytes = (HostBoard::bytes(size) + kAlignment - 1) / kAlignment * kAlignment;
    // A rank's part may begin anywhere, so each asks for one alignment more.
    const std::size_t bytes = kAlignment + HostTransport::kPartBytes + (rank == 0 ? board_bytes : 0);
    void* mine = nullptr;
    check_mpi(MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes), 1, MPI_INFO_NULL, host, &mine, &window_),
              "a shared window of the ranks of this host");
    std::vector<std::byte*> parts;
    std::byte* board = nullptr;
    for (int each = 0; each < size; ++each) {
      MPI_Aint length = 0;
      int unit = 0;
      void* base = nullptr;
      check_mpi(MPI_Win_shared_query(window_, each, &length, &unit, &base), "MPI_Win_shared_query");
      std::byte* part = aligned(base);
      if (each == 0) board = std::exchange(part, part + board_bytes);
      parts.push_back(part);
    }
    if (rank == 0) HostBoard::prepare(board, size);
    std::optional<PeerMemory> memory;
    if (directly) memory = reach(host, rank, parts);
    check_mpi(MPI_Barrier(host), "MPI_Barrier");
    transport_ = std::make_unique<HostTransport>(std::make_unique<HostBoard>(board, rank, members, timeout, &ledger),
                                                 parts, std::move(memory));
  }
  void free() { MPI_Win_free(&window_); }  // collective

  std::unique_ptr<Transport> take_transport() { return std::move(transport_); }

 private:
  // The memory of all, if each of them reaches all; so the ranks agree. Cards and verdicts lie in the parts.
  static std::optional<PeerMemory> reach(MPI_Comm host, int rank, const std::vector<std::byte*>& parts) {
    std::byte* mine = parts[static_cast<std::size_t>(rank)];
    const PeerMemory::Card card = PeerMemory::own_card();
    std::memcpy(mine, &card, sizeof card);
    check_mpi(MPI_Barrier(host), "MPI_Barrier");
    std::vector<PeerMemory::Card> cards(parts.size());
    for (std::size_t each = 0; each < parts.size(); ++each) std::memcpy(&cards[each], parts[each], sizeof card);
    PeerMemory memory(std::move(cards));
    int reached = memory.reaches_all();
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, &reached, 1, MPI_INT, MPI_MIN, host), "MPI_Allreduce");
    return reached != 0 ? std::optional(std::move(memory)) : std::nullopt;
  }

  MPI_Win window_ = MPI_WIN_NULL;
  std::unique_ptr<Transport> transport_;
};

struct MpiGroups::Group {
  MPI_Comm comm = MPI_COMM_NULL;
  bool owned = false;
  std::unique_ptr<HostWindow> window;
  std::shared_ptr<MpiPeers> peers;
};

MpiGroups::MpiGroups(MPI_Comm all, MpiOptions::Path path, std::chrono::milliseconds timeout, HostLedger& ledger)
    : path_(path), timeout_(timeout), ledger_(ledger) {
  int size = 0;
  check_mpi(MPI_Comm_size(all, &size), "MPI_Comm_size");
  make(all, Members::world(size), false);
}

MpiGroups::~MpiGroups() { close(); }

const std::shared_ptr<MpiPeers>& MpiGroups::world() const { return groups_.front()->peers; }

std::shared_ptr<MpiPeers> MpiGroups::make(MPI_Comm comm, Members members, bool owned) {
  auto group = std::make_unique<Group>();
  group->comm = comm;
  group->owned = owned;
  group->peers = std::make_shared<MpiPeers>(comm, std::move(members), timeout_, ledger_);
  MPI_Comm host = MPI_COMM_NULL;  // the ranks of this host
  check_mpi(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, group->peers->messages.rank(), MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  int on_host = 0;
  MPI_Comm_size(host, &on_host);
  MPI_Comm_free(&host);
  const int rank = group->peers->messages.rank();
  const int size = group->peers->messages.size();
  if (on_host == size && path_ != MpiOptions::Path::kMessages) {
    group->window = std::make_unique<HostWindow>(comm, rank, group->peers->messages.members(), timeout_, ledger_,
                                                 path_ == MpiOptions::Path::kBest);
    group->peers->transport = group->window->take_transport();
  } else {
    group->peers->transport = std::make_unique<NetworkTransport>(group->peers->messages);
  }
  groups_.push_back(std::move(group));
  return groups_.back()->peers;
}

std::shared_ptr<MpiPeers> MpiGroups::subgroup(const MpiPeers& parent, std::span<const int> ranks,
                                              std::string_view name) {
  MPI_Group from = MPI_GROUP_NULL;
  MPI_Group to = MPI_GROUP_NULL;
  MPI_Comm comm = MPI_COMM_NULL;
  check_mpi(MPI_Comm_group(parent.messages.comm(), &from), "MPI_Comm_group");
  check_mpi(MPI_Group_incl(from, static_cast<int>(ranks.size()), ranks.data(), &to), "MPI_Group_incl");
  check_mpi(MPI_Comm_create_group(parent.messages.comm(), to, 0, &comm), "MPI_Comm_create_group");
  MPI_Group_free(&to);
  MPI_Group_free(&from);
  MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
  return make(comm, parent.messages.members().subgroup(ranks, name), true);
}

bool MpiGroups::failed() const {
  for (const auto& group : groups_)
    if (group->peers->failed) return true;
  return false;
}

void MpiGroups::close() {
  for (const auto& group : groups_) group->peers->transport.reset();
}

void MpiGroups::free() {
  while (!groups_.empty()) {
    Group& group = *groups_.back();
    if (group.window) group.window->free();
    if (group.owned) MPI_Comm_free(&group.comm);
    groups_.pop_back();
  }
}

}  // namespace trireme
