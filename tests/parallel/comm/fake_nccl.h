// NCCL as threads of one process would have it, for tests of what stands above: a link is an end of a LocalGroup, on
// host streams. It can be made to take calls and never finish them, or to fail, as a network does.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parallel/comm/local.h"
#include "parallel/comm/nccl/link.h"

namespace trireme {

// What the ranks' libraries share.
struct FakeNetwork {
  std::atomic<bool> stuck{false};  // calls made from now on end only when they are aborted
  std::atomic<int> broken{-1};     // the rank whose links report an error
  std::atomic<int> library_sums{0};

  std::shared_ptr<LocalGroup> group(const std::string& id, int size) {
    const std::lock_guard lock(mutex);
    std::shared_ptr<LocalGroup>& group = groups[id];
    if (!group) group = std::make_shared<LocalGroup>(size);
    return group;
  }

  std::mutex mutex;
  std::map<std::string, std::shared_ptr<LocalGroup>> groups;
  std::atomic<int> ids{0};
};

class FakeLink final : public NcclLink {
 public:
  FakeLink(FakeNetwork& network, std::shared_ptr<LocalGroup> group, int rank, int world_rank, Device& device)
      : network_(network),
        group_(std::move(group)),
        rank_(rank),
        world_rank_(world_rank),
        device_(device),
        peers_(group_->join(rank, device)) {}

  State state(std::string& why) override {
    if (*aborted_) why = "it was aborted";
    if (network_.broken == world_rank_) why = "unhandled system error";
    return why.empty() ? State::kReady : State::kFailed;
  }
  void abort() override {
    if (aborted_->exchange(true)) return;
    aborted_->notify_all();
    group_->leave(rank_, "its link was aborted");
  }

  void all_reduce(Stream stream, Tensor x, Reduction reduction) override {
    if (reduction == Reduction::kSum && x.dtype == DType::kF32) ++network_.library_sums;
    call(stream, [&] { peers_->all_reduce(stream, x, reduction, kCall); });
  }
  void reduce_scatter(Stream stream, Tensor to, Tensor from) override {
    ++network_.library_sums;
    call(stream, [&] { peers_->reduce_scatter(stream, to, from, kCall); });
  }
  void all_gather(Stream stream, Tensor to, Tensor from) override {
    call(stream, [&] { peers_->all_gather(stream, to, from, kCall); });
  }
  void broadcast(Stream stream, Tensor x, int root) override {
    call(stream, [&] { peers_->broadcast(stream, x, root, kCall); });
  }
  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives) override {
    call(stream, [&] { peers_->exchange(stream, sends, receives, kCall); });
  }

 private:
  static constexpr CallFor kCall{0, "of a link"};

  template <class Work>
  void call(Stream stream, const Work& work) {
    if (!network_.stuck) return work();
    device_.run(stream, [aborted = aborted_] { aborted->wait(false); });
  }

  FakeNetwork& network_;
  std::shared_ptr<LocalGroup> group_;
  const int rank_, world_rank_;
  Device& device_;
  std::unique_ptr<Communicator> peers_;
  std::shared_ptr<std::atomic<bool>> aborted_ = std::make_shared<std::atomic<bool>>(false);
};

class FakeMarks final : public NcclMarks {
 public:
  explicit FakeMarks(Device& device) : device_(device) {}
  void* put(Stream stream) override {
    const std::lock_guard lock(mutex_);
    const auto& mark = marks_.emplace_back(std::make_shared<std::atomic<bool>>(false));
    device_.run(stream, [mark] { *mark = true; });
    return mark.get();
  }
  bool passed(void* mark) override { return *static_cast<std::atomic<bool>*>(mark); }
  void take_back(void*) override {}

 private:
  Device& device_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<std::atomic<bool>>> marks_;
};

class FakeLibrary final : public NcclLibrary {
 public:
  FakeLibrary(FakeNetwork& network, int world_rank, Device& device)
      : network_(network), world_rank_(world_rank), device_(device) {}
  std::string version() const override { return "no NCCL"; }
  void use_device() override {}
  std::string unique_id() override { return "link " + std::to_string(++network_.ids); }
  std::unique_ptr<NcclLink> join(const std::string& id, int rank, int size) override {
    return std::make_unique<FakeLink>(network_, network_.group(id, size), rank, world_rank_, device_);
  }
  std::unique_ptr<NcclMarks> make_marks() override { return std::make_unique<FakeMarks>(device_); }

 private:
  FakeNetwork& network_;
  const int world_rank_;
  Device& device_;
};

}  // namespace trireme
