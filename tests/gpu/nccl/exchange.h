// Messages between ranks that never make the caller wait: a set of sends and receives over MPI that is begun, then
// asked whether it is done. Each message goes with a notice of what its sender is doing, and the receiver holds that
// against what it is doing itself: operations that do not match are found at the first message, by whoever gets it, and
// both are named.
//
// Messages of one communicator between two ranks arrive in the order in which they were sent. Messages to oneself are
// copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <mpi.h>

namespace trireme::gpu::nccl {

// What a rank is doing. Plain bytes: it is sent as it is.
struct Notice {
  std::int32_t kind = 0;  // of Kind (operations.h)
  std::int32_t type = 0;  // ncclDataType_t
  std::int32_t op = 0;    // ncclRedOp_t
  std::int32_t root = 0;
  std::uint64_t count = 0;   // elements, as the caller gave them
  std::uint64_t number = 0;  // of the operation on its communicator, from 1
  std::uint64_t bytes = 0;   // of the message that follows
};
std::string text(const Notice& notice);  // "all_reduce of 4 float32 (sum), operation 3"

class Exchange {
 public:
  Exchange(const std::vector<int>& world_ranks, int rank, int tag) : ranks_(world_ranks), rank_(rank), tag_(tag) {}
  ~Exchange();  // cancels what is not done

  // Bytes are copied at once.
  void send(int peer, const Notice& notice, const std::byte* bytes);
  // `bytes` stays valid until this is done. `expected` must be what comes, but for the bytes of point-to-point calls.
  void receive(int peer, const Notice& expected, std::byte* bytes);

  bool poll();  // done?

 private:
  struct Outgoing {
    std::vector<std::byte> bytes{};  // notice and payload
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    int peer = 0;
    bool taken = false;  // of a message to oneself
  };
  struct Incoming {
    int peer = 0;
    Notice expected{};
    Notice notice{};
    std::byte* bytes = nullptr;
    MPI_Request request = MPI_REQUEST_NULL;
    enum class Stage { kWaiting, kNotice, kPayload, kDone } stage = Stage::kWaiting;
  };
  void begin(Incoming& message);
  bool advance(Incoming& message);
  void check(const Incoming& message) const;

  const std::vector<int>& ranks_;  // of MPI_COMM_WORLD, by rank of the communicator
  const int rank_;
  const int tag_;
  std::vector<std::unique_ptr<Outgoing>> outgoing_;
  std::vector<std::unique_ptr<Incoming>> incoming_;
};

}  // namespace trireme::gpu::nccl
