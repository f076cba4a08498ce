#include "parallel/comm/mpi_communicator.h"

#include <algorithm>
#include <functional>

#include "monitoring/check.h"
#include "parallel/comm/mpi_exchange.h"
#include "parallel/comm/mpi_groups.h"

namespace trireme {
namespace {

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(std::shared_ptr<MpiGroups> groups, std::shared_ptr<MpiPeers> peers, Device& device)
      : groups_(std::move(groups)), peers_(std::move(peers)), device_(device) {}

  int rank() const override { return peers_->messages.rank(); }
  int size() const override { return peers_->messages.size(); }

  void all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor what) override {
    check_all_reduce(x, reduction);
    const Call call = make_call(Op::kAllReduce, what, x.dtype, x.bytes(), static_cast<std::int32_t>(reduction));
    run(stream, call, [=](MpiPeers& peers) { peers.transport->all_reduce(call, x, reduction); });
  }
  void reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_reduce_scatter(to, from, size());
    const Call call = make_call(Op::kReduceScatter, what, from.dtype, from.bytes());
    run(stream, call, [=](MpiPeers& peers) { peers.transport->reduce_scatter(call, to, from); });
  }
  void all_gather(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_gather(to, from, size());
    const Call call = make_call(Op::kAllGather, what, from.dtype, from.bytes());
    run(stream, call, [=](MpiPeers& peers) { peers.transport->all_gather(call, to, from); });
  }
  void broadcast(Stream stream, Tensor x, int root, CallFor what) override {
    CHECK(root >= 0 && root < size(), "root ", root, " of ", size());
    const Call call = make_call(Op::kBroadcast, what, x.dtype, x.bytes(), root);
    run(stream, call, [=](MpiPeers& peers) { peers.transport->broadcast(call, x, root); });
  }
  void all_to_all(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_all_to_all(to, from, size());
    const Call call = make_call(Op::kAllToAll, what, from.dtype, from.bytes());
    run(stream, call, [=](MpiPeers& peers) { peers.transport->all_to_all(call, to, from); });
  }
  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                CallFor what) override {
    check_peers(sends, size());
    check_peers(receives, size());
    const Call call = make_call(Op::kExchange, what, DType::kF32, 0);
    run(stream, call,
        [call, out = std::vector(sends.begin(), sends.end()), in = std::vector(receives.begin(), receives.end())](
            MpiPeers& peers) { mpi_exchange(peers.messages, call, out, in); });
  }

  std::vector<std::string> gather_to_all(std::string_view message, CallFor what) override {
    for (const Stream& stream : used_) device_.synchronize(stream);
    used_.clear();
    const Call call = make_call(Op::kGatherToAll, what, DType::kF32, 0);
    std::vector<std::string> all;
    guarded(*peers_, call, [&](MpiPeers& peers) {
      peers.transport->meet(call);
      all = gather(peers.messages, message, call);
    });
    return all;
  }

  std::unique_ptr<Communicator> subgroup(std::span<const int> ranks, std::string_view name) override {
    CHECK(std::find(ranks.begin(), ranks.end(), rank()) != ranks.end(), "rank ", rank(), " is not in its group ", name);
    return make_mpi_communicator(groups_, groups_->subgroup(*peers_, ranks, name), device_);
  }

 private:
  static void guarded(MpiPeers& peers, const Call& call, const std::function<void(MpiPeers&)>& work) {
    try {
      peers.ledger.enter(peers.line, call, peers.messages.members());
      work(peers);
      peers.ledger.leave(peers.line);
    } catch (const std::exception& error) {
      peers.failed = true;
      peers.ledger.give_up(error.what());
      throw;
    }
  }

  void run(Stream stream, const Call& call, std::function<void(MpiPeers&)> work) {
    device_.run(stream, [peers = peers_, call, work = std::move(work)] { guarded(*peers, call, work); });
    for (const Stream& used : used_)
      if (used.handle == stream.handle) return;
    used_.push_back(stream);
  }

  static std::vector<std::string> gather(MpiMessages& messages, std::string_view mine, const Call& call) {
    using Kind = MpiMessages::Kind;
    const auto size = static_cast<std::size_t>(messages.size());
    const auto me = static_cast<std::size_t>(messages.rank());
    std::vector<std::uint64_t> bytes(size, mine.size());
    const std::uint64_t my_bytes = mine.size();
    MpiMessages::Batch lengths;
    for (std::size_t peer = 0; peer < size; ++peer) {
      if (peer == me) continue;
      messages.receive(lengths, Kind::kData, static_cast<int>(peer), &bytes[peer], sizeof(std::uint64_t));
      messages.send(lengths, Kind::kData, static_cast<int>(peer), &my_bytes, sizeof(std::uint64_t));
    }
    messages.wait(lengths, call);
    std::vector<std::string> all(size);
    MpiMessages::Batch texts;
    for (std::size_t peer = 0; peer < size; ++peer) {
      all[peer].resize(bytes[peer]);
      if (peer == me) continue;
      messages.receive(texts, Kind::kData, static_cast<int>(peer), all[peer].data(), all[peer].size());
      messages.send(texts, Kind::kData, static_cast<int>(peer), mine.data(), mine.size());
    }
    messages.wait(texts, call);
    all[me] = mine;
    return all;
  }

  std::shared_ptr<MpiGroups> groups_;
  std::shared_ptr<MpiPeers> peers_;
  Device& device_;
  std::vector<Stream> used_;  // since the last gather_to_all, which comes after what is on them
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(std::shared_ptr<MpiGroups> groups, std::shared_ptr<MpiPeers> peers,
                                                    Device& device) {
  return std::make_unique<MpiCommunicator>(std::move(groups), std::move(peers), device);
}

}  // namespace trireme
