#include "parallel/comm/nccl_communicator.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "monitoring/error.h"
#include "parallel/comm/sums.h"

namespace trireme {
namespace {

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::shared_ptr<NcclShared> shared, std::unique_ptr<Communicator> host, Members members)
      : shared_(std::move(shared)), host_(std::move(host)), members_(std::move(members)) {
    if (size() == 1) return;
    const std::string id = rank() == 0 ? shared_->library->unique_id() : "";
    const std::string of_all = host_->gather_to_all(id, {-1, "NCCL's unique id"})[0];
    // Groups of one name may come and go: the calls of one must not pass for those of another.
    calls_ = static_cast<std::int32_t>(std::hash<std::string>()(of_all) % (1 << 30));
    link_ = shared_->library->join(of_all, rank(), size());
    line_ = shared_->watch->open(*link_, members_, rank());
    staging_ = shared_->staging.take();
    try {
      connect();
    } catch (...) {
      close();
      throw;
    }
  }
  ~NcclCommunicator() override {
    if (link_ != nullptr) close();
  }
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }

  void all_reduce(Stream stream, Tensor x, Reduction reduction, CallFor what) override {
    check_all_reduce(x, reduction);
    const bool tree = x.dtype == DType::kF32 && reduction == Reduction::kSum && shared_->tree_sums;
    issue(stream, make_call(Op::kAllReduce, what, x.dtype, x.bytes(), static_cast<std::int32_t>(reduction)), x.bytes(),
          [&] { tree ? sum_all(stream, x) : link_->all_reduce(stream, x, reduction); });
  }
  void reduce_scatter(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_reduce_scatter(to, from, size());
    if (size() == 1) return copy(stream, to, from);
    issue(stream, make_call(Op::kReduceScatter, what, from.dtype, from.bytes()), from.bytes(),
          [&] { shared_->tree_sums ? sum_rows(stream, to, from) : link_->reduce_scatter(stream, to, from); });
  }
  void all_gather(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_gather(to, from, size());
    if (size() == 1) return copy(stream, to, from);
    issue(stream, make_call(Op::kAllGather, what, from.dtype, from.bytes()), from.bytes(),
          [&] { link_->all_gather(stream, to, from); });
  }
  void broadcast(Stream stream, Tensor x, int root, CallFor what) override {
    CHECK(root >= 0 && root < size(), "root ", root, " of ", size());
    issue(stream, make_call(Op::kBroadcast, what, x.dtype, x.bytes(), root), x.bytes(),
          [&] { link_->broadcast(stream, x, root); });
  }
  void all_to_all(Stream stream, Tensor to, Tensor from, CallFor what) override {
    check_all_to_all(to, from, size());
    std::vector<Transfer> sends, receives;
    for (int peer = 0; peer < size(); ++peer) {
      sends.push_back({part(from, peer), peer});
      receives.push_back({part(to, peer), peer});
    }
    issue(stream, make_call(Op::kAllToAll, what, from.dtype, from.bytes()), from.bytes(),
          [&] { move(stream, sends, receives); });
    if (size() == 1) copy(stream, to, from);
  }
  void exchange(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives,
                CallFor what) override {
    check_peers(sends, size());
    check_peers(receives, size());
    if (size() == 1) return copy_own(stream, sends, receives);
    std::set<int> peers;
    for (const auto& transfers : {sends, receives})
      for (const Transfer& transfer : transfers)
        if (transfer.peer != rank()) peers.insert(transfer.peer);
    // Not counted: only the ranks named take part.
    put(stream, make_call(Op::kExchange, what, DType::kF32, 0), [&] { move(stream, sends, receives); },
        {peers.begin(), peers.end()});
  }

  std::vector<std::string> gather_to_all(std::string_view message, CallFor what) override {
    for (const Stream& stream : used_) shared_->device.synchronize(stream);
    used_.clear();
    if (shared_->watch) shared_->watch->check();
    return host_->gather_to_all(message, what);
  }

  std::unique_ptr<Communicator> subgroup(std::span<const int> ranks, std::string_view name) override {
    return make_nccl_communicator(shared_, host_->subgroup(ranks, std::string(name) + " over the host"),
                                  members_.subgroup(ranks, name));
  }

 private:
  static Tensor part(const Tensor& whole, int rank) {
    const std::int64_t row = whole.shape.dims() == 0 ? 1 : whole.elements() / whole.size(0);
    return whole.flat(rank * row, (rank + 1) * row);
  }

  // A collective, which all ranks count alike.
  template <class Work>
  void issue(Stream stream, Call call, std::size_t bytes, const Work& work) {
    if (size() == 1 || bytes == 0) return;
    call.number = ++calls_;
    put(stream, call, work);
  }
  template <class Work>
  void put(Stream stream, const Call& call, const Work& work, std::vector<int> peers = {}) {
    NcclWatch& watch = *shared_->watch;
    watch.begin(*line_, call, stream, std::move(peers));
    try {
      work();
      settle();
    } catch (const PeerError& error) {
      watch.fail(members_.rank(rank()) + " in " + to_string(call, members_) + ": " + error.what());
    }
    watch.end(*line_, stream);
    const auto same = [&](const Stream& used) { return used.handle == stream.handle; };
    if (std::none_of(used_.begin(), used_.end(), same)) used_.push_back(stream);
  }
  // Until the last call is taken, so that the next may be made. Not until it has run.
  void settle() {
    constexpr auto kNap = std::chrono::microseconds(20);
    std::string why;
    for (;;) {
      switch (link_->state(why)) {
        case NcclLink::State::kReady:
          return;
        case NcclLink::State::kFailed:
          throw PeerError("NCCL failed: " + why);
        case NcclLink::State::kBusy:
          shared_->watch->check();
          std::this_thread::sleep_for(kNap);
      }
    }
  }

  void copy(Stream stream, const Tensor& to, const Tensor& from) {
    if (to.data != from.data && to.elements() > 0)
      shared_->ops.copy(stream, to.flat(0, to.elements()), from.flat(0, from.elements()));
  }
  // What a rank sends to itself, in order.
  void copy_own(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives) {
    const auto own = [&](const Transfer& transfer) { return transfer.peer == rank(); };
    auto from = std::find_if(sends.begin(), sends.end(), own);
    for (const Transfer& to : receives) {
      if (!own(to)) continue;
      CHECK(from != sends.end(), "a rank receives from itself more than it sends");
      copy(stream, to.tensor, from->tensor);
      from = std::find_if(from + 1, sends.end(), own);
    }
  }
  void move(Stream stream, std::span<const Transfer> sends, std::span<const Transfer> receives) {
    const auto to_others = [&](std::span<const Transfer> transfers) {
      std::vector<Transfer> some;
      for (const Transfer& transfer : transfers)
        if (transfer.peer != rank() && transfer.tensor.elements() > 0) some.push_back(transfer);
      return some;
    };
    const std::vector<Transfer> out = to_others(sends), in = to_others(receives);
    if (!out.empty() || !in.empty()) link_->exchange(stream, out, in);
    settle();
    copy_own(stream, sends, receives);
  }

  // Links between peers are made by the first message, and the host waits for it; here that holds nobody up. In fast
  // numerics the neighbours are enough: what goes between single ranks goes along a pipeline.
  void connect() {
    settle();
    const Stream stream = shared_->device.create_stream(StreamKind::kCommunication, "connect");
    std::byte* memory = shared_->device.allocate(static_cast<std::size_t>(2 * size()) * sizeof(float));
    const Tensor out{memory, DType::kF32, {size()}};
    const Tensor in{memory + out.bytes(), DType::kF32, {size()}};
    shared_->ops.fill(stream, out, 0);
    std::vector<Transfer> sends, receives;
    for (int peer = 0; peer < size(); ++peer) {
      const int distance = (peer - rank() + size()) % size();
      if (!shared_->tree_sums && distance != 1 && distance != size() - 1) continue;
      sends.push_back({part(out, peer), peer});
      receives.push_back({part(in, peer), peer});
    }
    put(stream, make_call(Op::kExchange, {-1, "connections"}, DType::kF32, 0), [&] { move(stream, sends, receives); });
    shared_->device.synchronize(stream);
    used_.clear();
    shared_->device.release(memory);
    shared_->device.destroy_stream(stream);
  }

  // A slot for each rank of `count` elements each.
  Tensor slot(int rank, std::int64_t count) const {
    std::byte* memory = shared_->staging.of(staging_);
    return {memory + static_cast<std::size_t>(rank * count) * sizeof(float), DType::kF32, {count}};
  }
  std::int64_t most_of_a_slot() const {
    constexpr std::int64_t kLine = 16;  // elements: slices begin at lines (slice_of)
    return static_cast<std::int64_t>(NcclStaging::kStagingBytes / sizeof(float)) / size() / kLine * kLine;
  }

  void sum_all(Stream stream, const Tensor& x) {
    constexpr std::int64_t kFew = 4096;  // elements: one gathering is quicker than two ways
    if (x.elements() <= std::min(kFew, most_of_a_slot())) return sum_gathered(stream, x.flat(0, x.elements()));
    const std::int64_t most = most_of_a_slot() * size();
    for (std::int64_t begin = 0; begin < x.elements(); begin += most)
      sum_piece(stream, x.flat(begin, std::min(begin + most, x.elements())));
  }
  void sum_gathered(Stream stream, const Tensor& x) {
    std::vector<Tensor> parts;
    for (int each = 0; each < size(); ++each) parts.push_back(slot(each, x.elements()));
    const Tensor all{parts[0].data, DType::kF32, {size(), x.elements()}};
    link_->all_gather(stream, all, x);
    settle();
    shared_->ops.sum_tree(stream, x, parts);
  }
  // Every rank's slice of the piece comes to it, is summed there and goes to all.
  void sum_piece(Stream stream, const Tensor& piece) {
    const auto slice = [&](int of) {
      const Slice cut = slice_of(static_cast<std::size_t>(piece.elements()), size(), of);
      return piece.flat(static_cast<std::int64_t>(cut.begin), static_cast<std::int64_t>(cut.end));
    };
    const Tensor mine = slice(rank());
    const Tensor sum = slot(rank(), mine.elements());
    std::vector<Transfer> out, in, sums_out, sums_in;
    std::vector<Tensor> parts;
    for (int peer = 0; peer < size(); ++peer) {
      parts.push_back(peer == rank() ? mine : slot(peer, mine.elements()));
      if (peer == rank()) continue;
      out.push_back({slice(peer), peer});
      in.push_back({parts.back(), peer});
      sums_out.push_back({sum, peer});
      sums_in.push_back({slice(peer), peer});
    }
    move(stream, out, in);
    if (mine.elements() > 0) shared_->ops.sum_tree(stream, sum, parts);
    move(stream, sums_out, sums_in);
    copy(stream, mine, sum);
  }

  void sum_rows(Stream stream, const Tensor& to, const Tensor& from) {
    const std::int64_t most = most_of_a_slot();
    for (std::int64_t begin = 0; begin < to.elements(); begin += most) {
      const std::int64_t end = std::min(begin + most, to.elements());
      std::vector<Transfer> out, in;
      std::vector<Tensor> parts;
      for (int peer = 0; peer < size(); ++peer) {
        parts.push_back(peer == rank() ? part(from, peer).flat(begin, end) : slot(peer, end - begin));
        if (peer == rank()) continue;
        out.push_back({part(from, peer).flat(begin, end), peer});
        in.push_back({parts.back(), peer});
      }
      move(stream, out, in);
      // `to` may be this rank's row, which is one of the parts.
      const Tensor sum = slot(rank(), end - begin);
      shared_->ops.sum_tree(stream, sum, parts);
      copy(stream, to.flat(begin, end), sum);
    }
  }

  void close() {
    shared_->watch->close(*line_);
    shared_->staging.give_back(staging_);
    link_.reset();
  }

  std::shared_ptr<NcclShared> shared_;
  std::unique_ptr<Communicator> host_;
  const Members members_;
  std::unique_ptr<NcclLink> link_;  // null: one rank
  std::shared_ptr<NcclWatch::Line> line_;
  int staging_ = 0;
  std::int32_t calls_ = 0;    // collectives so far, from a number that is the group's own
  std::vector<Stream> used_;  // since the last gather_to_all, which comes after what is on them
};

}  // namespace

int NcclStaging::take() {
  for (int place = 0; place < kGroups; ++place)
    if (!std::exchange(taken_[place], true)) return place;
  CHECK(false, "more than ", kGroups, " groups over NCCL at a time");
  return 0;
}

std::byte* NcclStaging::of(int place) const {
  CHECK(memory_ != nullptr, "a sum over NCCL before its memory was placed");
  return memory_ + static_cast<std::size_t>(place) * kStagingBytes;
}

std::unique_ptr<Communicator> make_nccl_communicator(std::shared_ptr<NcclShared> shared,
                                                     std::unique_ptr<Communicator> host, Members members) {
  return std::make_unique<NcclCommunicator>(std::move(shared), std::move(host), std::move(members));
}

}  // namespace trireme
