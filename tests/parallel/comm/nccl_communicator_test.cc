// All that a communicator over NCCL is beside NCCL: sums in our tree, staging, groups, and how failures are found and
// told.
#include "parallel/comm/nccl_communicator.h"

#include <numeric>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/host/host_device.h"
#include "monitoring/error.h"
#include "parallel/comm/mesh_communicators.h"
#include "tests/parallel/comm/fake_nccl.h"
#include "tests/parallel/comm/tree_reference.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

// What the ranks of a test share.
struct World {
  explicit World(int ranks) : size(ranks), words(ranks), memory(HostLedger::bytes(ranks) + 128) {
    void* begin = memory.data();
    std::size_t room = memory.size();
    ledgers = static_cast<std::byte*>(std::align(128, HostLedger::bytes(ranks), begin, room));
    HostLedger::prepare(ledgers, ranks);
  }
  const int size;
  FakeNetwork network{};
  LocalGroup words;
  std::vector<std::byte> memory;
  std::byte* ledgers = nullptr;
  bool tree_sums = true;
  HostOptions host{};
  std::chrono::milliseconds timeout = std::chrono::seconds(20);
};

class Self {
 public:
  Self(World& world, int number) : rank(number) {
    HostOptions options = world.host;
    options.shuffle_seed += static_cast<std::uint64_t>(rank);
    device = make_host_device(options);
    stream = device->create_stream(StreamKind::kCommunication, "communication");
    library_.emplace(world.network, rank, *device);
    ledger_.emplace(world.ledgers, rank, world.size, rank);
    shared_ = std::make_shared<NcclShared>(
        NcclShared{.device = *device, .ops = host_kernels(), .tree_sums = world.tree_sums, .library = &*library_});
    shared_->watch = std::make_unique<NcclWatch>(*library_, *device, &*ledger_, world.timeout, nullptr);
    shared_->staging.place(take(NcclStaging::kBytes));
    comm = make_nccl_communicator(shared_, world.words.join(rank, *device), Members::world(world.size));
  }
  ~Self() {
    comm.reset();
    shared_->watch.reset();
    device->destroy_stream(stream);
    for (std::byte* block : blocks_) device->release(block);
  }
  Self(const Self&) = delete;
  Self& operator=(const Self&) = delete;

  template <class T>
  Tensor tensor(const Shape& shape, DType dtype, const std::vector<T>& values) {
    const Tensor made{take(values.size() * sizeof(T)), dtype, shape};
    device->upload(stream, made, values.data());
    return made;
  }
  Tensor floats(const std::vector<float>& values) {
    return tensor<float>({static_cast<std::int64_t>(values.size())}, DType::kF32, values);
  }
  template <class T>
  std::vector<T> read(const Tensor& from) {
    std::vector<T> values(from.bytes() / sizeof(T));
    device->download(stream, values.data(), from);
    device->synchronize(stream);
    return values;
  }
  int size() const { return comm->size(); }

  const int rank;
  std::unique_ptr<Device> device;
  Stream stream;
  std::unique_ptr<Communicator> comm;

 private:
  std::byte* take(std::size_t bytes) { return blocks_.emplace_back(device->allocate(bytes)); }

  std::optional<FakeLibrary> library_;
  std::optional<HostLedger> ledger_;
  std::shared_ptr<NcclShared> shared_;
  std::vector<std::byte*> blocks_;
};

// What each rank threw, "" if nothing.
std::vector<std::string> run(World& world, const std::function<void(Self&)>& body) {
  std::vector<std::string> thrown(static_cast<std::size_t>(world.size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world.size; ++rank)
    threads.emplace_back([&, rank] {
      whereabouts().rank = rank;
      try {
        Self self(world, rank);
        body(self);
        self.device->synchronize(self.stream);
      } catch (const PeerError& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
        world.words.leave(rank, error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();
  return thrown;
}
void expect_sound(World& world, const std::function<void(Self&)>& body) { EXPECT_THAT(run(world, body), Each("")); }

class NcclSizes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, NcclSizes, testing::Values(1, 2, 3, 4, 5, 8));

// Gathered and summed by all; by slices; in pieces of the staging.
TEST_P(NcclSizes, ExactSumsHaveTheBitsOfTheTree) {
  World world(GetParam());
  world.host = {.streams = GetParam() % 2 == 0 ? StreamMode::kLazy : StreamMode::kImmediate, .guard_memory = true};
  expect_sound(world, [&](Self& self) {
    for (std::size_t count : {0u, 1u, 4096u, 4097u, 70001u, GetParam() == 2 ? 5000017u : 33u}) {
      const Tensor x = self.floats(uneven_values(count, 5 + static_cast<std::uint64_t>(self.rank)));
      self.comm->all_reduce(self.stream, x, Reduction::kSum, {1, "x"});
      EXPECT_TRUE(self.read<float>(x) == summed_values(count, 5, self.size())) << count;
    }
    for (std::int64_t part : {std::int64_t{0}, std::int64_t{5}, std::int64_t{30001}}) {
      const auto all = static_cast<std::size_t>(part * self.size());
      const Tensor from = self.tensor<float>({self.size(), part}, DType::kF32,
                                             uneven_values(all, 9 + static_cast<std::uint64_t>(self.rank)));
      const Tensor to = self.floats(std::vector<float>(static_cast<std::size_t>(part)));
      self.comm->reduce_scatter(self.stream, to, from, {1, "y"});
      const std::vector<float> sums = summed_values(all, 9, self.size());
      const auto begin = sums.begin() + static_cast<std::ptrdiff_t>(part) * self.rank;
      EXPECT_TRUE(self.read<float>(to) == std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(part)));
      const Tensor mine = from.rows(self.rank, self.rank + 1);
      self.comm->reduce_scatter(self.stream, mine, from, {1, "in place"});
      EXPECT_TRUE(self.read<float>(mine) == self.read<float>(to));
    }
  });
  EXPECT_EQ(world.network.library_sums, 0);
}

TEST_P(NcclSizes, MovesEveryByteAndSendsToItselfInOrder) {
  World world(GetParam());
  expect_sound(world, [&](Self& self) {
    const int size = self.size(), me = self.rank;
    const auto number = [](int rank, int row) { return std::int64_t{1000} * rank + row; };
    std::vector<std::int64_t> all, out, in;
    for (int peer = 0; peer < size; ++peer) {
      all.push_back(number(peer, 7));
      out.push_back(number(me, peer));
      in.push_back(number(peer, me));
    }
    const Tensor one = self.tensor<std::int64_t>({1}, DType::kI64, {number(me, 7)});
    const Tensor row = self.tensor({size, 1}, DType::kI64, out);
    const Tensor to = self.tensor({size, 1}, DType::kI64, std::vector<std::int64_t>(out.size()));
    self.comm->all_gather(self.stream, to, one, {2, "gather"});
    EXPECT_EQ(self.read<std::int64_t>(to), all);
    self.comm->all_to_all(self.stream, to, row, {2, "all to all"});
    EXPECT_EQ(self.read<std::int64_t>(to), in);
    self.comm->broadcast(self.stream, one, size - 1, {2, "broadcast"});
    EXPECT_EQ(self.read<std::int64_t>(one)[0], number(size - 1, 7));

    const int next = (me + 1) % size, previous = (me + size - 1) % size;
    const Tensor a = self.floats({static_cast<float>(me), 1}), b = self.floats({static_cast<float>(me), 2});
    const Tensor c = self.floats({0, 0}), d = self.floats({0, 0}), e = self.floats({0, 0});
    self.comm->exchange(self.stream, {{{a, next}, {b, me}, {b, next}}}, {{{c, previous}, {d, previous}, {e, me}}},
                        {2, "ring and self"});
    const auto from = static_cast<float>(previous);
    if (size > 1) {
      EXPECT_EQ(self.read<float>(c), (std::vector<float>{from, 1}));
      EXPECT_EQ(self.read<float>(d), (std::vector<float>{from, 2}));
    }
    EXPECT_EQ(self.read<float>(e), (std::vector<float>{static_cast<float>(me), 2}));

    const Tensor tokens = self.tensor<std::int64_t>({1}, DType::kI64, {std::int64_t{1} << (40 + me)});
    self.comm->all_reduce(self.stream, tokens, Reduction::kSum, {2, "tokens"});
    EXPECT_EQ(self.read<std::int64_t>(tokens)[0], ((std::int64_t{1} << size) - 1) << 40);
    const auto words = self.comm->gather_to_all(std::to_string(me), {2, "words"});
    for (int rank = 0; rank < size; ++rank) EXPECT_EQ(words[static_cast<std::size_t>(rank)], std::to_string(rank));
  });
}

TEST(Nccl, FastSumsAreTheLibrarys) {
  World world(3);
  world.tree_sums = false;
  expect_sound(world, [&](Self& self) {
    const Tensor x = self.floats({1, 2, 3});
    self.comm->all_reduce(self.stream, x, Reduction::kSum, {1, "x"});
    EXPECT_EQ(self.read<float>(x), (std::vector<float>{3, 6, 9}));
    const Tensor mine = x.rows(self.rank, self.rank + 1);
    self.comm->reduce_scatter(self.stream, mine, x, {1, "y"});
    EXPECT_EQ(self.read<float>(mine)[0], 9.0f * static_cast<float>(self.rank + 1));
  });
  EXPECT_EQ(world.network.library_sums, 6);
}

TEST(Nccl, GroupsOfAMeshSumOverTheirOwnRanksAndComeAndGo) {
  World world(4);
  expect_sound(world, [&](Self& self) {
    for (int times = 0; times < 3; ++times) {
      const MeshCommunicators mesh({2, 1, 1, 2, 1}, *self.comm);
      for (Communicator* group : {&mesh.dp(), &mesh.tp(), &mesh.tp_gradients(), &mesh.pp(), &mesh.world()}) {
        const Tensor x = self.floats({static_cast<float>(1 << self.rank)});
        group->all_reduce(self.stream, x, Reduction::kSum, {times, "x"});
        const int first = self.rank / 2 * 2;
        const float want = group == &mesh.dp()      ? (self.rank % 2 == 0 ? 5.0f : 10.0f)
                           : group == &mesh.pp()    ? static_cast<float>(1 << self.rank)
                           : group == &mesh.world() ? 15.0f
                                                    : static_cast<float>(3 << first);
        EXPECT_EQ(self.read<float>(x)[0], want);
      }
    }
  });
}

TEST(Nccl, ACallThatDoesNotEndIsNamedAtTheTimeoutAndWakesWhoWaits) {
  World world(2);
  world.timeout = std::chrono::milliseconds(300);
  const auto thrown = run(world, [&](Self& self) {
    const Tensor x = self.floats({1, 2});
    self.comm->all_reduce(self.stream, x, Reduction::kSum, {6, "layers.0.weight"});
    self.comm->gather_to_all("", {6, "so far"});
    world.network.stuck = true;
    self.comm->gather_to_all("", {6, "stuck"});
    if (self.rank == 0) std::this_thread::sleep_for(std::chrono::seconds(2));
    self.comm->all_reduce(self.stream, x, Reduction::kSum, {7, "layers.1.weight"});
    self.device->synchronize(self.stream);
  });
  EXPECT_THAT(
      thrown[1],
      AllOf(HasSubstr("rank 1 has waited for 300 ms in all_reduce of \"layers.1.weight\" (fp32, 8 bytes) in step 7"),
            HasSubstr("rank 0 has not come, and made its last call, all_reduce of \"layers.0.weight\"")));
}

TEST(Nccl, UnlikeCallsOfOneGroupAreNamedByBoth) {
  World world(2);
  const auto thrown = run(world, [&](Self& self) {
    const Tensor x = self.floats({1, 2});
    self.comm->gather_to_all("", {6, "so far"});
    world.network.stuck = true;
    self.comm->gather_to_all("", {6, "stuck"});
    if (self.rank == 0)
      self.comm->broadcast(self.stream, x, 1, {7, "layers.1.weight"});
    else
      self.comm->all_reduce(self.stream, x, Reduction::kSum, {7, "layers.0.weight"});
    self.device->synchronize(self.stream);
  });
  // Who notices second may find that the first has given up.
  EXPECT_THAT(thrown[0] + thrown[1],
              AllOf(HasSubstr("ranks 0 and 1 make different calls"),
                    HasSubstr("broadcast of \"layers.1.weight\" (fp32, 8 bytes, from rank 1) in step 7"),
                    HasSubstr("all_reduce of \"layers.0.weight\" (fp32, 8 bytes) in step 7")));
  EXPECT_THAT(thrown, Each(testing::Not("")));
}

TEST(Nccl, AnErrorOfTheLibraryComesOutOfEveryLaterWaitAndCall) {
  World world(2);
  const auto thrown = run(world, [&](Self& self) {
    const Tensor x = self.floats({1, 2});
    self.comm->all_reduce(self.stream, x, Reduction::kSum, {6, "layers.0.weight"});
    self.comm->gather_to_all("", {6, "so far"});
    if (self.rank == 1) return;
    world.network.broken = 0;
    while (true) {
      try {
        self.device->synchronize(self.stream);
      } catch (const PeerError&) {
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_THROW(self.device->synchronize(self.stream), PeerError);
    EXPECT_THROW(self.comm->gather_to_all("", {7, "words"}), PeerError);
    self.comm->all_reduce(self.stream, x, Reduction::kSum, {7, "layers.1.weight"});
  });
  EXPECT_THAT(thrown[0], HasSubstr("NCCL failed on rank 0 in the group world: unhandled system error"));
}

}  // namespace
}  // namespace trireme
