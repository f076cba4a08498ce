#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <string>

#include <cuda_runtime.h>
#include <nvtx3/nvToolsExtCudaRt.h>

#include "cuda/device/device.h"
#include "cuda/device/error.cuh"
#include "cuda/device/scratch.h"
#include "cuda/device/staging.cuh"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {
namespace cuda {
namespace {

// The first exception of a task on a stream, until somebody asks.
class Failure {
 public:
  bool any() {
    std::lock_guard lock(mutex_);
    return first_ != nullptr;
  }
  void keep(std::exception_ptr failure) {
    std::lock_guard lock(mutex_);
    if (!first_) first_ = std::move(failure);
  }
  void rethrow() {
    std::lock_guard lock(mutex_);
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr first_;
};

// What cudaLaunchHostFunc is given. Owned by the stream until it has run.
struct HostTask {
  std::function<void()> task;
  Failure* failure;
};

void CUDART_CB run_task(void* given) {
  const std::unique_ptr<HostTask> mine(static_cast<HostTask*>(given));
  if (mine->failure->any()) return;
  try {
    mine->task();
  } catch (...) {
    mine->failure->keep(std::current_exception());
  }
}

cudaStream_t of(Stream stream) { return static_cast<cudaStream_t>(stream.handle); }
cudaEvent_t of(Event event) { return static_cast<cudaEvent_t>(event.handle); }

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) {
    const cudaError_t status = cudaSetDevice(index);  // makes the context
    if (status == cudaErrorDevicesUnavailable)
      throw UserError("GPU " + std::to_string(index) +
                      " is busy or in exclusive mode and held by another process (nvidia-smi names it): end that "
                      "process, or hide this GPU with CUDA_VISIBLE_DEVICES");
    check(status, "cudaSetDevice");
    check(cudaDeviceGetStreamPriorityRange(&lowest_priority_, &highest_priority_), "cudaDeviceGetStreamPriorityRange");
  }
  ~CudaDevice() override { CHECK(blocks_.empty(), blocks_.size(), " blocks of memory outlive their device"); }

  const char* name() const override { return "cuda"; }

  std::byte* allocate(std::size_t bytes) override {
    make_current();
    std::lock_guard lock(mutex_);
    // The arena's block is far larger than a page of the GPU and is aligned as it is.
    std::size_t size = std::max<std::size_t>(bytes, 1);
    std::byte* base = cuda::allocate(size, held_ + scratch_bytes());
    if (aligned(base) != base) {
      check(cudaFree(base), "cudaFree");
      size += kAlignment;
      base = cuda::allocate(size, held_ + scratch_bytes());
    }
    held_ += size;
    blocks_[aligned(base)] = {base, size};
    return aligned(base);
  }
  void release(std::byte* memory) override {
    make_current();
    std::lock_guard lock(mutex_);
    const auto block = blocks_.find(memory);
    CHECK(block != blocks_.end(), "released memory is not the device's");
    check(cudaFree(block->second.base), "cudaFree");
    held_ -= block->second.bytes;
    blocks_.erase(block);
  }

  Stream create_stream(StreamKind kind, const char* label) override {
    make_current();
    cudaStream_t stream = nullptr;
    const int priority = kind == StreamKind::kCommunication ? highest_priority_ : lowest_priority_;
    check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority), "cudaStreamCreateWithPriority");
    nvtxNameCudaStreamA(stream, label);
    return {stream};
  }
  void destroy_stream(Stream stream) override {
    make_current();
    check(cudaStreamSynchronize(of(stream)), "cudaStreamSynchronize");
    forget_stream(stream);
    check(cudaStreamDestroy(of(stream)), "cudaStreamDestroy");
  }
  Event create_event() override {
    make_current();
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
    return {event};
  }
  void destroy_event(Event event) override { check(cudaEventDestroy(of(event)), "cudaEventDestroy"); }
  void record(Stream stream, Event event) override {
    make_current();
    check(cudaEventRecord(of(event), of(stream)), "cudaEventRecord");
  }
  void wait(Stream stream, Event event) override {
    make_current();
    check(cudaStreamWaitEvent(of(stream), of(event), 0), "cudaStreamWaitEvent");
  }
  void synchronize(Stream stream) override {
    make_current();
    check(cudaStreamSynchronize(of(stream)), "cudaStreamSynchronize");
    failure_.rethrow();
  }

  void upload(Stream stream, Tensor to, const void* from) override {
    make_current();
    for_each_piece(to.bytes(), [&](std::size_t at, std::size_t bytes) {
      staging_.use(of(stream), bytes, [&](std::byte* piece) {
        std::memcpy(piece, static_cast<const std::byte*>(from) + at, bytes);
        check(cudaMemcpyAsync(to.data + at, piece, bytes, cudaMemcpyHostToDevice, of(stream)), "cudaMemcpyAsync");
      });
    });
  }
  void download(Stream stream, void* to, Tensor from) override {
    make_current();
    for_each_piece(from.bytes(), [&](std::size_t at, std::size_t bytes) {
      staging_.use(of(stream), bytes, [&](std::byte* piece) {
        check(cudaMemcpyAsync(piece, from.data + at, bytes, cudaMemcpyDeviceToHost, of(stream)), "cudaMemcpyAsync");
        run(stream, [=] { std::memcpy(static_cast<std::byte*>(to) + at, piece, bytes); });
      });
    });
  }
  void run(Stream stream, std::function<void()> task) override {
    make_current();
    auto mine = std::make_unique<HostTask>(HostTask{std::move(task), &failure_});
    check(cudaLaunchHostFunc(of(stream), run_task, mine.get()), "cudaLaunchHostFunc");
    static_cast<void>(mine.release());  // run_task's now
  }

 private:
  struct Block {
    std::byte* base;
    std::size_t bytes;
  };
  static constexpr std::size_t kAlignment = 4096;  // bytes
  static std::byte* aligned(std::byte* base) {
    const auto address = reinterpret_cast<std::uintptr_t>(base);
    return base + (kAlignment - address % kAlignment) % kAlignment;
  }
  template <class Each>
  static void for_each_piece(std::size_t bytes, const Each& each) {
    for (std::size_t at = 0; at < bytes; at += StagingRing::kPieceBytes)
      each(at, std::min(StagingRing::kPieceBytes, bytes - at));
  }
  void make_current() const { check(cudaSetDevice(index_), "cudaSetDevice"); }

  const int index_;
  int lowest_priority_ = 0;
  int highest_priority_ = 0;
  std::mutex mutex_;
  std::map<std::byte*, Block> blocks_;  // by what `allocate` answered
  std::size_t held_ = 0;                // bytes
  Failure failure_;
  StagingRing staging_;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Device> make_cuda_device(int index) { return std::make_unique<cuda::CudaDevice>(index); }

}  // namespace trireme
