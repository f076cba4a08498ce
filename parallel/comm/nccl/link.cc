#include "parallel/comm/nccl/link.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "monitoring/error.h"

namespace trireme {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& why) {
  throw PeerError(what + " failed: " + why + "; NCCL_DEBUG=WARN makes NCCL say more");
}

void check(cudaError_t result, const char* what) {
  if (result != cudaSuccess) refuse(what, cudaGetErrorString(result));
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return ncclFloat32;
    case DType::kBF16:
      return ncclBfloat16;
    case DType::kF16:
      return ncclFloat16;
    case DType::kI32:
      return ncclInt32;
    case DType::kI64:
      return ncclInt64;
  }
  refuse("a collective", "a dtype that NCCL does not know");
}

cudaStream_t native(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }
std::size_t count_of(const Tensor& tensor) { return static_cast<std::size_t>(tensor.elements()); }

class Link final : public NcclLink {
 public:
  Link(const ncclUniqueId& id, int rank, int size) {
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    take(ncclCommInitRankConfig(&comm_, size, id, rank, &config), "ncclCommInitRankConfig");
  }
  ~Link() override {
    if (comm_ == nullptr) return;
    // What was sent last may still be on its way to a peer; but a peer may have gone by an exception, too.
    constexpr auto kPatience = std::chrono::seconds(2);
    const auto begin = std::chrono::steady_clock::now();
    ncclCommFinalize(comm_);
    std::string why;
    State now = State::kBusy;
    while ((now = state(why)) == State::kBusy && std::chrono::steady_clock::now() - begin < kPatience)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (now == State::kReady)
      ncclCommDestroy(comm_);
    else
      ncclCommAbort(comm_);
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  State state(std::string& why) override {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) {
      why = "it was aborted";
      return State::kFailed;
    }
    ncclResult_t result = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &result);
    if (asked == ncclSuccess && result == ncclSuccess) return State::kReady;
    if (asked == ncclSuccess && result == ncclInProgress) return State::kBusy;
    why = std::string(ncclGetErrorString(asked == ncclSuccess ? result : asked));
    if (const char* last = ncclGetLastError(comm_); last != nullptr && *last != 0) why.append(": ").append(last);
    return State::kFailed;
  }

  void abort() override {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) return;
    ncclCommAbort(comm_);
    comm_ = nullptr;
  }

  void all_reduce(Stream stream, Tensor x, Reduction reduction) override {
    call("ncclAllReduce", [&] {
      return ncclAllReduce(x.data, x.data, count_of(x), type_of(x.dtype),
                           reduction == Reduction::kSum ? ncclSum : ncclMax, comm_, native(stream));
    });
  }
  void reduce_scatter(Stream stream, Tensor to, Tensor from) override {
    call("ncclReduceScatter", [&] {
      return ncclReduceScatter(from.data, to.data, count_of(to), type_of(to.dtype), ncclSum, comm_, native(stream));
    });
  }
  void all_gather(Stream stream, Tensor to, Tensor from) override {
    call("ncclAllGather",
         [&] { return ncclAllGather(from.data, to.data, count_of(from), type_of(from.dtype), comm_, native(stream)); });
  }
  void broadcast(Stream stream, Tensor x, int root) override {
    call("ncclBroadcast",
         [&] { return ncclBroadcast(x.data, x.data, count_of(x), type_of(x.dtype), root, comm_, native(stream)); });
  }

  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives) override {
    call("a group of ncclSend and ncclRecv", [&] {
      ncclResult_t first = ncclGroupStart();
      const auto note = [&](ncclResult_t result) {
        if (first == ncclSuccess && result != ncclInProgress) first = result;
      };
      for (const auto& [tensor, peer] : sends)
        note(ncclSend(tensor.data, count_of(tensor), type_of(tensor.dtype), peer, comm_, native(stream)));
      for (const auto& [tensor, peer] : receives)
        note(ncclRecv(tensor.data, count_of(tensor), type_of(tensor.dtype), peer, comm_, native(stream)));
      const ncclResult_t ended = ncclGroupEnd();
      return first == ncclSuccess ? ended : first;
    });
  }

 private:
  template <class Work>
  void call(const char* what, const Work& work) {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) refuse(what, "the communicator was aborted");
    take(work(), what);
  }
  static void take(ncclResult_t result, const char* what) {
    if (result != ncclSuccess && result != ncclInProgress) refuse(what, ncclGetErrorString(result));
  }

  std::mutex mutex_;
  ncclComm_t comm_ = nullptr;  // null once aborted
};

// Events without times, used again and again.
class Marks final : public NcclMarks {
 public:
  ~Marks() override {
    for (cudaEvent_t event : free_) cudaEventDestroy(event);
  }
  void* put(Stream stream) override {
    cudaEvent_t event = nullptr;
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        event = free_.back();
        free_.pop_back();
      }
    }
    if (event == nullptr) check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    check(cudaEventRecord(event, native(stream)), "cudaEventRecord");
    return event;
  }
  bool passed(void* mark) override {
    const cudaError_t result = cudaEventQuery(static_cast<cudaEvent_t>(mark));
    if (result == cudaErrorNotReady) return false;
    check(result, "the GPU's work");
    return true;
  }
  void take_back(void* mark) override {
    const std::lock_guard lock(mutex_);
    free_.push_back(static_cast<cudaEvent_t>(mark));
  }

 private:
  std::mutex mutex_;
  std::vector<cudaEvent_t> free_;
};

class Library final : public NcclLibrary {
 public:
  Library() {
    check(cudaGetDevice(&device_), "cudaGetDevice");
    // A first collective that connects its peers on the way makes the host wait for theirs; connected beforehand, calls
    // only put work on streams.
    setenv("NCCL_RUNTIME_CONNECT", "0", 0);
  }

  std::string version() const override {
    int version = 0;
    ncclGetVersion(&version);
    return "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  }
  void use_device() override { check(cudaSetDevice(device_), "cudaSetDevice"); }

  std::string unique_id() override {
    ncclUniqueId id;
    if (const ncclResult_t result = ncclGetUniqueId(&id); result != ncclSuccess)
      refuse("ncclGetUniqueId", ncclGetErrorString(result));
    return std::string(id.internal, sizeof id.internal);
  }
  std::unique_ptr<NcclLink> join(const std::string& unique_id, int rank, int size) override {
    ncclUniqueId id;
    CHECK(unique_id.size() == sizeof id.internal, "a unique id of ", unique_id.size(), " bytes");
    std::memcpy(id.internal, unique_id.data(), sizeof id.internal);
    return std::make_unique<Link>(id, rank, size);
  }
  std::unique_ptr<NcclMarks> make_marks() override { return std::make_unique<Marks>(); }

 private:
  int device_ = 0;
};

}  // namespace
}  // namespace trireme

extern "C" __attribute__((visibility("default"))) trireme::NcclLibrary* trireme_open_nccl_1() {
  static trireme::NcclLibrary* const library = new trireme::Library;  // lives as long as the process
  return library;
}
