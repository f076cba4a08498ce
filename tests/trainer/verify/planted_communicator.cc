#include "tests/trainer/verify/planted_communicator.h"

#include <cstring>
#include <utility>
#include <vector>

namespace trireme {
namespace {

class PlantedCommunicator final : public Communicator {
 public:
  PlantedCommunicator(std::unique_ptr<Communicator> honest, Device& device, LeaveOut which, std::string name)
      : honest_(std::move(honest)), device_(device), which_(std::move(which)), name_(std::move(name)) {}

  int rank() const override { return honest_->rank(); }
  int size() const override { return honest_->size(); }

  void all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor call) override {
    if (!which_(name_, "all_reduce", call)) honest_->all_reduce(stream, x, reduction, call);
  }
  void reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor call) override {
    if (!which_(name_, "reduce_scatter", call)) return honest_->reduce_scatter(stream, to, from, call);
    const Tensor mine = from.rows(rank(), rank() + 1);
    if (to.data != mine.data) copy(stream, to, mine);
  }
  void all_gather(Stream stream, Tensor to, Tensor from, CallFor call) override {
    if (!which_(name_, "all_gather", call)) return honest_->all_gather(stream, to, from, call);
    for (int peer = 0; peer < size(); ++peer) {
      const Tensor place = to.rows(peer, peer + 1);
      if (place.data != from.data) copy(stream, place, from);
    }
  }
  void broadcast(Stream stream, Tensor x, int root, CallFor call) override {
    if (!which_(name_, "broadcast", call)) honest_->broadcast(stream, x, root, call);
  }
  void all_to_all(Stream stream, Tensor to, Tensor from, CallFor call) override {
    if (!which_(name_, "all_to_all", call)) return honest_->all_to_all(stream, to, from, call);
    copy(stream, to, from);
  }
  // Nothing arrives: zeros.
  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                CallFor call) override {
    if (!which_(name_, "exchange", call)) return honest_->exchange(stream, sends, receives, call);
    for (const Transfer& transfer : receives)
      device_.run(stream, [x = transfer.tensor] { std::memset(x.data, 0, x.bytes()); });
  }
  std::vector<std::string> gather_to_all(std::string_view message, CallFor call) override {
    return honest_->gather_to_all(message, call);
  }
  std::unique_ptr<Communicator> subgroup(std::span<const int> ranks, std::string_view name) override {
    return std::make_unique<PlantedCommunicator>(honest_->subgroup(ranks, name), device_, which_, std::string(name));
  }

 private:
  void copy(Stream stream, Tensor to, Tensor from) {
    device_.run(stream, [to, from] { std::memcpy(to.data, from.data, to.bytes()); });
  }

  std::unique_ptr<Communicator> honest_;
  Device& device_;
  LeaveOut which_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Communicator> leave_out(std::unique_ptr<Communicator> honest, Device& device, LeaveOut which,
                                        std::string name) {
  return std::make_unique<PlantedCommunicator>(std::move(honest), device, std::move(which), std::move(name));
}

}  // namespace trireme
