#include "parallel/comm/local.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "parallel/comm/local_table.h"
#include "parallel/comm/sums.h"

namespace trireme {

struct LocalGroup::State {
  State(std::shared_ptr<LocalRoom> with, const Members& members)
      : room(std::move(with)), table(std::make_shared<LocalTable>(room, members)), made(members.ranks.size()) {}

  const std::shared_ptr<LocalRoom> room;
  const std::shared_ptr<LocalTable> table;

  // The next subgroup of these ranks and this name that `rank` makes.
  std::shared_ptr<State> subgroup(int rank, std::span<const int> ranks, std::string_view name) {
    const std::lock_guard lock(mutex);
    const auto key = std::pair(std::string(name), std::vector<int>(ranks.begin(), ranks.end()));
    const std::size_t number = made.at(static_cast<std::size_t>(rank))[key]++;
    std::vector<std::shared_ptr<State>>& groups = subgroups[key];
    if (groups.size() == number)
      groups.push_back(std::make_shared<State>(room, table->members().subgroup(ranks, name)));
    return groups.at(number);
  }

 private:
  using Key = std::pair<std::string, std::vector<int>>;
  std::mutex mutex;
  std::map<Key, std::vector<std::shared_ptr<State>>> subgroups;
  std::vector<std::map<Key, std::size_t>> made;  // by rank
};

namespace {

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<LocalGroup::State> state, int rank, Device& device)
      : state_(std::move(state)), table_(state_->table), rank_(rank), device_(device) {
    table_->take_seat(rank);
  }
  ~LocalCommunicator() override { table_->leave(rank_, "its communicator is gone"); }

  int rank() const override { return rank_; }
  int size() const override { return table_->size(); }

  void all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor what) override {
    check_all_reduce(x, reduction);
    const Call call = make_call(Op::kAllReduce, what, x.dtype, x.bytes(), static_cast<std::int32_t>(reduction));
    // Each rank alone reads and writes its slice, of everybody's tensor.
    collective(stream, call, {x.data, x.data, {}}, [x, reduction, rank = rank_](std::span<const Operands> all) {
      const Slice slice = slice_of(static_cast<std::size_t>(x.elements()), static_cast<int>(all.size()), rank);
      const std::size_t offset = slice.begin * bytes_of(x.dtype);
      const std::size_t bytes = slice.count() * bytes_of(x.dtype);
      if (bytes == 0 || all.size() == 1) return;
      std::vector<const std::byte*> parts;
      for (const Operands& each : all) parts.push_back(each.from + offset);
      reduce_tree(x.data + offset, parts, slice.count(), x.dtype, reduction);
      for (const Operands& each : all)
        if (each.to != x.data) std::memcpy(each.to + offset, x.data + offset, bytes);
    });
  }

  void reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_reduce_scatter(to, from, size());
    const Call call = make_call(Op::kReduceScatter, what, from.dtype, from.bytes());
    collective(stream, call, {from.data, nullptr, {}}, [to, rank = rank_](std::span<const Operands> all) {
      if (to.bytes() == 0) return;
      std::vector<const std::byte*> parts;
      for (const Operands& each : all) parts.push_back(each.from + to.bytes() * static_cast<std::size_t>(rank));
      reduce_tree(to.data, parts, static_cast<std::size_t>(to.elements()), to.dtype, Reduction::kSum);
    });
  }

  void all_gather(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_gather(to, from, size());
    const Call call = make_call(Op::kAllGather, what, from.dtype, from.bytes());
    collective(stream, call, {from.data, nullptr, {}}, [to, from](std::span<const Operands> all) {
      for (std::size_t peer = 0; peer < all.size(); ++peer)
        copy(to.data + peer * from.bytes(), all[peer].from, from.bytes());
    });
  }

  void broadcast(Stream stream, Tensor x, int root, CallFor what) override {
    CHECK(root >= 0 && root < size(), "root ", root, " of ", size());
    const Call call = make_call(Op::kBroadcast, what, x.dtype, x.bytes(), root);
    collective(stream, call, {x.data, nullptr, {}}, [x, root](std::span<const Operands> all) {
      copy(x.data, all[static_cast<std::size_t>(root)].from, x.bytes());
    });
  }

  void all_to_all(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_all_to_all(to, from, size());
    const Call call = make_call(Op::kAllToAll, what, from.dtype, from.bytes());
    collective(stream, call, {from.data, nullptr, {}}, [to, rank = rank_](std::span<const Operands> all) {
      const std::size_t bytes = to.bytes() / all.size();
      for (std::size_t peer = 0; peer < all.size(); ++peer)
        copy(to.data + peer * bytes, all[peer].from + static_cast<std::size_t>(rank) * bytes, bytes);
    });
  }

  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                CallFor what) override {
    check_peers(sends, size());
    check_peers(receives, size());
    const Call call = make_call(Op::kExchange, what, DType::kF32, 0);
    device_.run(stream, [table = table_, rank = rank_, call, out = std::vector(sends.begin(), sends.end()),
                         in = std::vector(receives.begin(), receives.end())] { table->exchange(rank, call, out, in); });
    remember(stream);
  }

  std::vector<std::string> gather_to_all(std::string_view message, CallFor what) override {
    for (const Stream& stream : used_) device_.synchronize(stream);
    used_.clear();
    std::vector<std::string> messages;
    const Call call = make_call(Op::kGatherToAll, what, DType::kF32, 0);
    table_->collective(rank_, call, {nullptr, nullptr, message}, [&](std::span<const Operands> all) {
      for (const Operands& each : all) messages.emplace_back(each.message);
    });
    return messages;
  }

  std::unique_ptr<Communicator> subgroup(std::span<const int> ranks, std::string_view name) override {
    const auto mine = std::find(ranks.begin(), ranks.end(), rank_);
    CHECK(mine != ranks.end(), "rank ", rank_, " is not in its group ", name);
    return std::make_unique<LocalCommunicator>(state_->subgroup(rank_, ranks, name),
                                               static_cast<int>(mine - ranks.begin()), device_);
  }

 private:
  static void copy(std::byte* to, const std::byte* from, std::size_t bytes) {
    if (to != from && bytes > 0) std::memcpy(to, from, bytes);
  }

  void collective(Stream stream, const Call& call, const Operands& mine,
                  std::function<void(std::span<const Operands>)> work) {
    device_.run(stream, [table = table_, rank = rank_, call, mine, work = std::move(work)] {
      table->collective(rank, call, mine, work);
    });
    remember(stream);
  }

  void remember(Stream stream) {
    for (const Stream& used : used_)
      if (used.handle == stream.handle) return;
    used_.push_back(stream);
  }

  std::shared_ptr<LocalGroup::State> state_;
  std::shared_ptr<LocalTable> table_;
  const int rank_;
  Device& device_;
  std::vector<Stream> used_;  // since the last gather_to_all, which comes after what is on them
};

}  // namespace

LocalGroup::LocalGroup(int size, std::chrono::milliseconds timeout) {
  CHECK(size >= 1, "a group of ", size);
  state_ = std::make_shared<State>(std::make_shared<LocalRoom>(timeout), Members::world(size));
}

LocalGroup::~LocalGroup() = default;

std::unique_ptr<Communicator> LocalGroup::join(int rank, Device& device) {
  return std::make_unique<LocalCommunicator>(state_, rank, device);
}

void LocalGroup::leave(int rank, const std::string& why) { state_->room->leave(rank, why); }

}  // namespace trireme
