#include "parallel/comm/mpi.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <mpi.h>

#include "cuda/core/device.h"
#include "monitoring/error.h"
#include "parallel/comm/host_ledger.h"
#include "parallel/comm/local.h"
#include "parallel/comm/mpi_communicator.h"
#include "parallel/comm/mpi_groups.h"

namespace trireme {
namespace {

std::chrono::milliseconds timeout_of(const MpiOptions& options) {
  const char* text = std::getenv("TRIREME_PEER_TIMEOUT_SECONDS");
  if (text == nullptr || *text == '\0') return options.timeout;
  int seconds = 0;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, seconds);
  if (error != std::errc() || stopped != end || seconds < 1)
    throw UserError(std::string("TRIREME_PEER_TIMEOUT_SECONDS=") + text + ": give a whole number of seconds from 1");
  return std::chrono::seconds(seconds);
}

}  // namespace

bool launched_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(name) != nullptr) return true;
  return false;
}

struct MpiWorld::State {
  int rank = 0, size = 1, host_rank = 0, host_size = 1;
  bool initialised = false;
  int exceptions = std::uncaught_exceptions();
  std::chrono::milliseconds timeout{};
  MPI_Comm all = MPI_COMM_NULL;   // ours alone
  MPI_Comm host = MPI_COMM_NULL;  // the ranks of this host
  MPI_Win ledger_window = MPI_WIN_NULL;
  std::optional<HostLedger> ledger;
  std::shared_ptr<MpiGroups> groups;
  bool given = false;

  void open_ledger();
};

MpiWorld::MpiWorld(MpiOptions options) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.timeout = timeout_of(options);
  if (!launched_by_mpi()) return;

  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided) != MPI_SUCCESS)
    throw UserError("MPI cannot be initialised; see what mpirun says");
  state.initialised = true;
  if (provided < MPI_THREAD_MULTIPLE)
    throw UserError("this MPI allows calls from one thread only; use an Open MPI built with MPI_THREAD_MULTIPLE");
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &state.all), "MPI_Comm_dup");
  MPI_Comm_set_errhandler(state.all, MPI_ERRORS_RETURN);
  MPI_Comm_rank(state.all, &state.rank);
  MPI_Comm_size(state.all, &state.size);
  check_mpi(MPI_Comm_split_type(state.all, MPI_COMM_TYPE_SHARED, state.rank, MPI_INFO_NULL, &state.host),
            "MPI_Comm_split_type");
  MPI_Comm_rank(state.host, &state.host_rank);
  MPI_Comm_size(state.host, &state.host_size);
  state.open_ledger();
  state.groups = std::make_shared<MpiGroups>(state.all, options.path, state.timeout, *state.ledger);
}

// In the part of the host's first rank.
void MpiWorld::State::open_ledger() {
  constexpr std::size_t kAlignment = 4096;
  void* memory = nullptr;
  check_mpi(MPI_Win_allocate_shared(
                host_rank == 0 ? static_cast<MPI_Aint>(kAlignment + HostLedger::bytes(host_size)) : MPI_Aint{0}, 1,
                MPI_INFO_NULL, host, &memory, &ledger_window),
            "a shared window of the ranks of this host");
  MPI_Aint bytes = 0;
  int unit = 0;
  check_mpi(MPI_Win_shared_query(ledger_window, 0, &bytes, &unit, &memory), "MPI_Win_shared_query");
  std::size_t room = kAlignment + HostLedger::bytes(host_size);
  auto* begin = static_cast<std::byte*>(std::align(kAlignment, HostLedger::bytes(host_size), memory, room));
  if (host_rank == 0) HostLedger::prepare(begin, host_size);
  check_mpi(MPI_Barrier(host), "MPI_Barrier");
  ledger.emplace(begin, host_rank, host_size, rank);
  check_mpi(MPI_Barrier(host), "MPI_Barrier");
  ledger->watch();
}

MpiWorld::~MpiWorld() {
  State& state = *state_;
  if (!state.initialised) return;
  const bool sound = !state.groups->failed() && std::uncaught_exceptions() <= state.exceptions;
  state.ledger->farewell();  // if an exception ends it, main says which
  state.groups->close();
  if (!sound) return;
  state.groups->free();
  state.ledger.reset();
  MPI_Win_free(&state.ledger_window);
  MPI_Comm_free(&state.host);
  MPI_Comm_free(&state.all);
  MPI_Finalize();
}

int MpiWorld::rank() const { return state_->rank; }
int MpiWorld::size() const { return state_->size; }
int MpiWorld::ranks_on_this_host() const { return state_->host_size; }
int MpiWorld::rank_on_this_host() const { return state_->host_rank; }
std::chrono::milliseconds MpiWorld::timeout() const { return state_->timeout; }
HostLedger* MpiWorld::ledger() { return state_->ledger ? &*state_->ledger : nullptr; }

std::unique_ptr<Communicator> MpiWorld::world(Device& device) {
  CHECK(!state_->given, "the world is asked for twice");
  state_->given = true;
  if (!state_->initialised) return LocalGroup(1, state_->timeout).join(0, device);
  return make_mpi_communicator(state_->groups, state_->groups->world(), device);
}

void MpiWorld::abort(int exit_code) {
  if (state_->ledger) state_->ledger->farewell();
  if (state_->initialised) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace trireme
