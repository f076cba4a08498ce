#include "parallel/comm/mpi.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <mpi.h>

#include "cuda/core/device.h"
#include "monitoring/error.h"
#include "parallel/comm/host_transport.h"
#include "parallel/comm/local.h"
#include "parallel/comm/mpi_communicator.h"
#include "parallel/comm/network_transport.h"

namespace trireme {
namespace {

constexpr std::size_t kAlignment = 4096;

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

std::byte* aligned(void* memory) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  return reinterpret_cast<std::byte*>((address + kAlignment - 1) / kAlignment * kAlignment);
}

// A shared window of the ranks of one host: the board in rank 0's part, then every rank's staging.
class HostWindow {
 public:
  HostWindow(MPI_Comm host, int rank, int size, std::chrono::milliseconds timeout) {
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
    check_mpi(MPI_Barrier(host), "MPI_Barrier");
    transport_ = std::make_unique<HostTransport>(std::make_unique<HostBoard>(board, rank, size, timeout), parts);
  }
  void free() { MPI_Win_free(&window_); }  // collective

  std::unique_ptr<Transport> take_transport() { return std::move(transport_); }

 private:
  MPI_Win window_ = MPI_WIN_NULL;
  std::unique_ptr<Transport> transport_;
};

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
  std::unique_ptr<HostWindow> window;
  std::shared_ptr<MpiPeers> peers;
  bool given = false;
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

  state.peers = std::make_shared<MpiPeers>(state.all, state.timeout);
  if (state.host_size == state.size && options.path == MpiOptions::Path::kBest) {
    state.window = std::make_unique<HostWindow>(state.host, state.host_rank, state.host_size, state.timeout);
    state.peers->transport = state.window->take_transport();
  } else {
    state.peers->transport = std::make_unique<NetworkTransport>(state.peers->messages);
  }
}

MpiWorld::~MpiWorld() {
  State& state = *state_;
  if (!state.initialised) return;
  const bool sound = !state.peers->failed && std::uncaught_exceptions() <= state.exceptions;
  state.peers->transport.reset();  // on one host: peers that wait for this rank fail now
  if (!sound) return;
  if (state.window) state.window->free();
  MPI_Comm_free(&state.host);
  MPI_Comm_free(&state.all);
  MPI_Finalize();
}

int MpiWorld::rank() const { return state_->rank; }
int MpiWorld::size() const { return state_->size; }
int MpiWorld::ranks_on_this_host() const { return state_->host_size; }
int MpiWorld::rank_on_this_host() const { return state_->host_rank; }

std::unique_ptr<Communicator> MpiWorld::world(Device& device) {
  CHECK(!state_->given, "the world is asked for twice");
  state_->given = true;
  if (!state_->initialised) return LocalGroup(1, state_->timeout).join(0, device);
  return make_mpi_communicator(state_->peers, device);
}

void MpiWorld::abort(int exit_code) {
  if (state_->initialised) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace trireme
