#include "cuda/host/host_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <vector>

#include <hwy/highway.h>
#include <oneapi/dnnl/dnnl.hpp>
#include <sys/mman.h>
#include <unistd.h>

#include "cuda/host/host_stream.h"
#include "cuda/host/memory_guard.h"
#include "cuda/host/stream_queues.h"
#include "monitoring/error.h"

namespace trireme {
namespace host {
namespace {

void cap_simd_once() {
  static const bool done = [] {
    const char* cap = std::getenv("TRIREME_SIMD");
    if (cap == nullptr || *cap == '\0') return true;
    const bool avx2 = std::string_view(cap) == "avx2";
    if (!avx2 && std::string_view(cap) != "portable")
      throw UserError(std::string("TRIREME_SIMD=") + cap + ": the caps are avx2 and portable");
    // The better a target, the lower its bit.
    hwy::DisableTargets((avx2 ? HWY_AVX2 : HWY_SCALAR) - 1);
    CHECK(dnnl::set_max_cpu_isa(avx2 ? dnnl::cpu_isa::avx2 : dnnl::cpu_isa::sse41) == dnnl::status::success,
          "oneDNN was used before its cap was set");
    return true;
  }();
  static_cast<void>(done);
}

class HostDevice final : public Device {
 public:
  explicit HostDevice(const HostOptions& options)
      : guarded_(options.guard_memory),
        queues_(options.streams, options.shuffle_seed, options.threads, guarded_ ? &guard_ : nullptr) {}
  ~HostDevice() override { CHECK(mappings_.empty(), mappings_.size(), " blocks of memory outlive their device"); }

  const char* name() const override { return "host"; }

  std::byte* allocate(std::size_t bytes) override {
    const std::size_t page = 4096;
    const std::size_t whole = std::max(page, (bytes + page - 1) / page * page);
    const std::size_t physical = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * page;
    void* memory = MAP_FAILED;
    if (whole >= bytes && whole <= physical)
      memory = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
      throw UserError("the host has no " + std::to_string(bytes) + " bytes of memory to give (it has " +
                      std::to_string(physical) + " in all): use a smaller model or micro-batch, or more ranks");
    madvise(memory, whole, MADV_HUGEPAGE);  // only a wish
    auto* block = static_cast<std::byte*>(memory);
    if (guarded_) guard_.add(block, whole);
    std::lock_guard lock(mutex_);
    mappings_[block] = whole;
    return block;
  }
  void release(std::byte* memory) override {
    std::lock_guard lock(mutex_);
    const auto mapping = mappings_.find(memory);
    CHECK(mapping != mappings_.end(), "released memory is not the device's");
    if (guarded_) guard_.remove(memory);
    CHECK(munmap(memory, mapping->second) == 0);
    mappings_.erase(mapping);
  }

  Stream create_stream(StreamKind kind, const char* label) override { return queues_.create_stream(kind, label); }
  void destroy_stream(Stream stream) override { queues_.destroy_stream(stream); }
  Event create_event() override { return queues_.create_event(); }
  void destroy_event(Event event) override { queues_.destroy_event(event); }
  void record(Stream stream, Event event) override { queues_.record(stream, event); }
  void wait(Stream stream, Event event) override { queues_.wait(stream, event); }
  void synchronize(Stream stream) override { queues_.synchronize(stream); }

  void upload(Stream stream, Tensor to, const void* from) override {
    if (to.bytes() == 0) return;
    if (static_cast<const StreamFront*>(stream.handle)->at_once) {
      OpenMemory open(guarded_ ? &guard_ : nullptr);
      std::memcpy(to.data, from, to.bytes());
      return;
    }
    const auto* bytes = static_cast<const std::byte*>(from);
    push(stream, [to, taken = std::vector<std::byte>(bytes, bytes + to.bytes())] {
      std::memcpy(to.data, taken.data(), taken.size());
    });
  }
  void download(Stream stream, void* to, Tensor from) override {
    if (from.bytes() == 0) return;
    enqueue(stream, [=](int) { std::memcpy(to, from.data, from.bytes()); });
  }
  void run(Stream stream, std::function<void()> task) override {
    const StreamFront& front = *static_cast<const StreamFront*>(stream.handle);
    if (!front.at_once) return StreamQueues::push(stream, std::move(task), true);
    OpenMemory open(front.guard);
    task();
  }

 private:
  const bool guarded_;
  MemoryGuard guard_;
  std::mutex mutex_;
  std::map<std::byte*, std::size_t> mappings_;  // address -> bytes
  StreamQueues queues_;
};

}  // namespace
}  // namespace host

std::unique_ptr<Device> make_host_device(const HostOptions& options) {
  CHECK(options.threads >= 1, "threads = ", options.threads);
  host::cap_simd_once();
  return std::make_unique<host::HostDevice>(options);
}

std::string host_description() {
  const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  const std::int64_t best = targets & -targets;
  const dnnl::version_t& dnn = *dnnl::version();
  return std::string(hwy::TargetName(best)) + ", oneDNN " + std::to_string(dnn.major) + "." +
         std::to_string(dnn.minor) + "." + std::to_string(dnn.patch);
}

}  // namespace trireme
