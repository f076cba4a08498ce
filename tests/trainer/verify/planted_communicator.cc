#include "tests/trainer/verify/planted_communicator.h"

#include <cstring>
#include <utility>
#include <vector>

namespace trireme {
namespace {

class PlantedCommunicator final : public Communicator {
 public:
  PlantedCommunicator(std::unique_ptr<Communicator> honest, Device& device, Detour detour, std::string name)
      : honest_(std::move(honest)), device_(device), detour_(std::move(detour)), name_(std::move(name)) {}

  int rank() const override { return honest_->rank(); }
  int size() const override { return honest_->size(); }

  void all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor call) override {
    if (left_out("all_reduce", call)) return;
    before("all_reduce", call, stream, x);
    honest_->all_reduce(stream, x, reduction, call);
    after("all_reduce", call, stream, x);
  }
  void reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor call) override {
    if (left_out("reduce_scatter", call)) {
      const Tensor mine = from.rows(rank(), rank() + 1);
      if (to.data != mine.data) copy(stream, to, mine);
      return;
    }
    before("reduce_scatter", call, stream, from);
    honest_->reduce_scatter(stream, to, from, call);
    after("reduce_scatter", call, stream, to);
  }
  void all_gather(Stream stream, Tensor to, Tensor from, CallFor call) override {
    if (!left_out("all_gather", call)) return honest_->all_gather(stream, to, from, call);
    for (int peer = 0; peer < size(); ++peer) {
      const Tensor place = to.rows(peer, peer + 1);
      if (place.data != from.data) copy(stream, place, from);
    }
  }
  void broadcast(Stream stream, Tensor x, int root, CallFor call) override {
    if (!left_out("broadcast", call)) honest_->broadcast(stream, x, root, call);
  }
  void all_to_all(Stream stream, Tensor to, Tensor from, CallFor call) override {
    if (!left_out("all_to_all", call)) return honest_->all_to_all(stream, to, from, call);
    copy(stream, to, from);
  }
  // Nothing arrives: zeros.
  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                CallFor call) override {
    if (!left_out("exchange", call)) return honest_->exchange(stream, sends, receives, call);
    for (const Transfer& transfer : receives)
      device_.run(stream, [x = transfer.tensor] { std::memset(x.data, 0, x.bytes()); });
  }
  std::vector<std::string> gather_to_all(std::string_view message, CallFor call) override {
    if (!left_out("gather_to_all", call)) return honest_->gather_to_all(message, call);
    std::vector<std::string> messages(static_cast<std::size_t>(size()));
    messages[static_cast<std::size_t>(rank())] = message;
    return messages;
  }
  std::unique_ptr<Communicator> subgroup(std::span<const int> ranks, std::string_view name) override {
    return lead_astray(honest_->subgroup(ranks, name), device_, detour_, std::string(name));
  }

 private:
  PlantedCall planted(std::string_view op, const CallFor& call) const { return {name_, size(), op, call}; }
  bool left_out(std::string_view op, const CallFor& call) const {
    return detour_.leave_out && detour_.leave_out(planted(op, call));
  }
  void before(std::string_view op, const CallFor& call, Stream stream, const Tensor& x) const {
    if (detour_.before_sum) detour_.before_sum(planted(op, call), stream, x);
  }
  void after(std::string_view op, const CallFor& call, Stream stream, const Tensor& x) const {
    if (detour_.after_sum) detour_.after_sum(planted(op, call), stream, x);
  }
  void copy(Stream stream, Tensor to, Tensor from) {
    device_.run(stream, [to, from] { std::memcpy(to.data, from.data, to.bytes()); });
  }

  std::unique_ptr<Communicator> honest_;
  Device& device_;
  Detour detour_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Communicator> lead_astray(std::unique_ptr<Communicator> honest, Device& device, Detour detour,
                                          std::string name) {
  return std::make_unique<PlantedCommunicator>(std::move(honest), device, std::move(detour), std::move(name));
}

}  // namespace trireme
