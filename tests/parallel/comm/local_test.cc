#include "parallel/comm/local.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/comm/sums.h"
#include "tests/parallel/comm/tree_reference.h"
#include "tests/parallel/local_ranks.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

// Immediate streams, or lazy ones in a shuffled order; data readable only inside of stream tasks.
LocalRun how(bool lazy, std::uint64_t seed = 1) {
  LocalRun run;
  run.options.streams = lazy ? StreamMode::kLazy : StreamMode::kImmediate;
  run.options.shuffle_seed = seed;
  run.options.guard_memory = true;
  return run;
}

class LocalSizes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, LocalSizes, testing::Values(1, 2, 3, 4, 5, 6, 7, 8));

TEST_P(LocalSizes, AllReduceGivesTheBitsOfTheTree) {
  const int size = GetParam();
  for (std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{17}, std::size_t{5003}}) {
    const std::vector<float> expected = summed_values(count, 7, size);
    expect_ranks(size, how(count % 2 == 0), [&](LocalRank& self) {
      const Tensor x = self.floats(uneven_values(count, 7 + static_cast<std::uint64_t>(self.rank())));
      self.comm().all_reduce(self.communication(), x, Reduction::kSum, {3, "w"});
      EXPECT_EQ(self.read<float>(x), expected);
    });
  }
}

TEST_P(LocalSizes, SumsLieWithinTheBoundOfExactOnes) {
  const int size = GetParam();
  const std::size_t count = 1000;
  const std::vector<float> sums = summed_values(count, 7, size);
  std::vector<double> exact(count), magnitude(count);
  for (int rank = 0; rank < size; ++rank) {
    const std::vector<float> values = uneven_values(count, 7 + static_cast<std::uint64_t>(rank));
    for (std::size_t i = 0; i < count; ++i) {
      exact[i] += static_cast<double>(values[i]);
      magnitude[i] += std::abs(static_cast<double>(values[i]));
    }
  }
  // A tree of depth d over n terms errs by at most d u sum|terms| (1 + O(u)).
  const double bound = std::ceil(std::log2(size)) * 0x1p-24 * 1.001;
  for (std::size_t i = 0; i < count; ++i)
    EXPECT_LE(std::abs(static_cast<double>(sums[i]) - exact[i]), bound * magnitude[i]) << i;
}

TEST_P(LocalSizes, ReduceScatterGivesEachRankItsPartOfTheTree) {
  const int size = GetParam();
  const std::size_t part = 37;
  const std::vector<float> expected = summed_values(part * static_cast<std::size_t>(size), 11, size);
  expect_ranks(size, how(size % 2 == 0), [&](LocalRank& self) {
    const auto values = uneven_values(expected.size(), 11 + static_cast<std::uint64_t>(self.rank()));
    const Tensor from = self.tensor<float>({size, 37}, DType::kF32, values);
    const Tensor to = self.zeros({37});
    self.comm().reduce_scatter(self.communication(), to, from, {3, "w"});
    const auto begin = expected.begin() + self.rank() * 37;
    EXPECT_EQ(self.read<float>(to), std::vector<float>(begin, begin + 37));
    self.comm().reduce_scatter(self.communication(), from.rows(self.rank(), self.rank() + 1), from, {3, "in place"});
    EXPECT_EQ(self.read<float>(from.rows(self.rank(), self.rank() + 1)), self.read<float>(to));
  });
}

TEST_P(LocalSizes, GatherBroadcastAndAllToAllMoveEveryByte) {
  const int size = GetParam();
  expect_ranks(size, how(size % 2 == 1), [&](LocalRank& self) {
    const auto me = static_cast<std::int16_t>(self.rank());
    std::vector<std::int16_t> mine(5), all;
    std::iota(mine.begin(), mine.end(), static_cast<std::int16_t>(100 * me));
    for (int rank = 0; rank < size; ++rank)
      for (int i = 0; i < 5; ++i) all.push_back(static_cast<std::int16_t>(100 * rank + i));

    const Tensor from = self.tensor({5}, DType::kBF16, mine);
    const Tensor to = self.zeros({size, 5}, DType::kBF16);
    self.comm().all_gather(self.communication(), to, from, {0, "gather"});
    EXPECT_EQ(self.read<std::int16_t>(to), all);

    const int root = size - 1;
    self.comm().broadcast(self.communication(), from, root, {0, "broadcast"});
    EXPECT_EQ(self.read<std::int16_t>(from), std::vector<std::int16_t>(all.end() - 5, all.end()));

    std::vector<std::int64_t> out, expected;
    for (int peer = 0; peer < size; ++peer) {
      out.push_back(100 * me + peer);
      expected.push_back(100 * peer + me);
    }
    const Tensor sent = self.tensor({size, 1}, DType::kI64, out);
    const Tensor received = self.zeros({size, 1}, DType::kI64);
    self.comm().all_to_all(self.communication(), received, sent, {0, "all to all"});
    EXPECT_EQ(self.read<std::int64_t>(received), expected);
  });
}

TEST_P(LocalSizes, ARingExchangeCannotDeadlock) {
  const int size = GetParam();
  expect_ranks(size, how(size % 2 == 0), [&](LocalRank& self) {
    const int next = (self.rank() + 1) % size;
    const int previous = (self.rank() + size - 1) % size;
    const Tensor first = self.floats({static_cast<float>(self.rank()), 1});
    const Tensor second = self.floats({static_cast<float>(self.rank()), 2});
    const Tensor a = self.zeros({2});
    const Tensor b = self.zeros({2});
    self.comm().exchange(self.communication(), {{{first, next}, {second, next}}}, {{{a, previous}, {b, previous}}},
                         {1, "ring"});
    EXPECT_EQ(self.read<float>(a), (std::vector<float>{static_cast<float>(previous), 1}));
    EXPECT_EQ(self.read<float>(b), (std::vector<float>{static_cast<float>(previous), 2}));
  });
}

TEST_P(LocalSizes, GatherToAllComesAfterWhatIsOnStreams) {
  const int size = GetParam();
  expect_ranks(size, how(size % 2 == 0), [&](LocalRank& self) {
    const Tensor x = self.floats({1});
    self.comm().all_reduce(self.communication(), x, Reduction::kSum, {1, "x"});
    const auto all = self.comm().gather_to_all(std::string(static_cast<std::size_t>(self.rank()), 'x'), {1, "names"});
    ASSERT_EQ(all.size(), static_cast<std::size_t>(size));
    for (std::size_t rank = 0; rank < all.size(); ++rank) EXPECT_EQ(all[rank], std::string(rank, 'x'));
  });
}

TEST(Local, MaximaAndIntegerSumsAreExactAndANanWins) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  expect_ranks(3, how(true), [&](LocalRank& self) {
    const auto me = static_cast<float>(self.rank());
    const Tensor x = self.floats({me, -me, self.rank() == 1 ? nan : me});
    self.comm().all_reduce(self.communication(), x, Reduction::kMax, {1, "x"});
    const std::vector<float> maxima = self.read<float>(x);
    EXPECT_EQ(maxima[0], 2);
    EXPECT_EQ(maxima[1], 0);
    EXPECT_TRUE(std::isnan(maxima[2]));

    const Tensor flags = self.tensor<std::int32_t>({2}, DType::kI32, {self.rank() == 1, 0});
    self.comm().all_reduce(self.communication(), flags, Reduction::kMax, {1, "flags"});
    EXPECT_EQ(self.read<std::int32_t>(flags), (std::vector<std::int32_t>{1, 0}));

    const std::int64_t large = std::int64_t{1} << 60;
    const Tensor count = self.tensor<std::int64_t>({1}, DType::kI64, {large + self.rank()});
    self.comm().all_reduce(self.communication(), count, Reduction::kSum, {1, "tokens"});
    EXPECT_EQ(self.read<std::int64_t>(count), (std::vector<std::int64_t>{3 * large + 3}));
  });
}

TEST(Local, ShuffledStreamsGiveTheSameSumWhereAnEventOrdersThem) {
  for (std::uint64_t seed = 0; seed < 8; ++seed)
    expect_ranks(2, how(true, seed), [&](LocalRank& self) {
      const Tensor x = self.zeros({3});
      self.device().synchronize(self.communication());
      const Event uploaded = self.device().create_event();
      self.device().upload(self.compute(), x, std::vector<float>{1, 2, 3}.data());
      self.device().record(self.compute(), uploaded);
      self.device().wait(self.communication(), uploaded);
      self.comm().all_reduce(self.communication(), x, Reduction::kSum, {0, "x"});
      EXPECT_EQ(self.read<float>(x), (std::vector<float>{2, 4, 6}));
      self.device().destroy_event(uploaded);
    });
}

// Two stages of a pipeline, of two ranks each, in the middle of 1F1B: what the first sends up and the second sends down
// stands before a collective of the stage's two ranks, but on other streams. Rank 0 is late to send and waits in the
// collective for rank 1, which waits for rank 3, which does the same and waits for rank 2, which waits for rank 0.
TEST(LocalStreams, ACollectiveOfAStageHoldsUpNoMessageBetweenStages) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    LocalRun run = how(true, 4 * seed);
    run.timeout = std::chrono::seconds(10);
    expect_ranks(4, run, [](LocalRank& self) {
      Device& device = self.device();
      const int stage = self.rank() / 2, side = self.rank() % 2, peer = 1 - stage;
      const std::vector<int> mates = {2 * stage, 2 * stage + 1}, pipeline = {side, side + 2};
      const auto tp = self.comm().subgroup(mates, "tp");
      const auto up = self.comm().subgroup(pipeline, "pp");
      const auto down = self.comm().subgroup(pipeline, "pp gradients");
      const Stream gradients = device.create_stream(StreamKind::kCommunication, "gradients");
      const Event arrived = device.create_event();
      const Tensor sent = self.zeros({4}), received = self.zeros({4}), x = self.zeros({4});
      device.synchronize(self.communication());

      // What is sent to the late ranks is there when they begin, and much stands before what they send.
      const bool late = self.rank() == 0 || self.rank() == 3;
      const Event nothing = device.create_event();
      for (int i = 0; late && i < 100; ++i) device.record(stage == 0 ? self.communication() : gradients, nothing);
      if (late) std::this_thread::sleep_for(std::chrono::milliseconds(50));

      const Transfer send{sent, peer}, receive{received, peer};
      const auto transfer = [&](Communicator& comm, Stream stream, bool sends, const char* what) {
        if (sends) return comm.exchange(stream, {&send, 1}, {}, {1, what});
        comm.exchange(stream, {}, {&receive, 1}, {1, what});
        device.record(stream, arrived);
      };
      transfer(*up, self.communication(), stage == 0, "activations");
      transfer(*down, gradients, stage == 1, "gradients");
      device.wait(self.compute(), arrived);
      tp->all_reduce(self.compute(), x, Reduction::kSum, {1, "x"});

      std::exception_ptr thrown;
      try {
        for (const Stream stream : {self.compute(), self.communication(), gradients}) device.synchronize(stream);
      } catch (const std::exception&) {
        thrown = std::current_exception();
      }
      device.destroy_stream(gradients);
      for (const Event event : {arrived, nothing}) device.destroy_event(event);
      if (thrown) std::rethrow_exception(thrown);
    });
  }
}

// Rank 1's own call differs from what the others make.
std::vector<std::string> mismatch(const std::function<void(LocalRank&, const Tensor& x)>& odd) {
  return run_ranks(3, how(false), [&](LocalRank& self) {
    const Tensor x = self.zeros({12});
    if (self.rank() == 1)
      odd(self, x);
    else
      self.comm().all_reduce(self.communication(), x, Reduction::kSum, {7, "layers.0.weight"});
    self.device().synchronize(self.communication());
  });
}

TEST(LocalMismatch, AnotherOpIsNamedOnEveryRank) {
  EXPECT_THAT(mismatch([](LocalRank& self, const Tensor& x) {
                self.comm().broadcast(self.communication(), x, 2, {7, "layers.0.weight"});
              }),
              Each(AllOf(HasSubstr("make different calls"),
                         HasSubstr("rank 1 is in broadcast of \"layers.0.weight\" (fp32, 48 bytes, from rank 2)"),
                         HasSubstr("is in all_reduce of \"layers.0.weight\" (fp32, 48 bytes) in step 7"))));
}

TEST(LocalMismatch, AnotherTensorStepSizeDtypeOrReductionIsNamedOnEveryRank) {
  EXPECT_THAT(mismatch([](LocalRank& self, const Tensor& x) {
                self.comm().all_reduce(self.communication(), x, Reduction::kSum, {7, "layers.1.weight"});
              }),
              Each(HasSubstr("rank 1 is in all_reduce of \"layers.1.weight\"")));
  EXPECT_THAT(mismatch([](LocalRank& self, const Tensor& x) {
                self.comm().all_reduce(self.communication(), x, Reduction::kSum, {8, "layers.0.weight"});
              }),
              Each(HasSubstr("48 bytes) in step 8")));
  EXPECT_THAT(mismatch([](LocalRank& self, const Tensor& x) {
                self.comm().all_reduce(self.communication(), x.rows(0, 4), Reduction::kSum, {7, "layers.0.weight"});
              }),
              Each(HasSubstr("rank 1 is in all_reduce of \"layers.0.weight\" (fp32, 16 bytes)")));
  EXPECT_THAT(mismatch([](LocalRank& self, const Tensor& x) {
                self.comm().all_reduce(self.communication(), {x.data, DType::kI64, {6}}, Reduction::kSum,
                                       {7, "layers.0.weight"});
              }),
              Each(HasSubstr("(int64, 48 bytes)")));
  EXPECT_THAT(mismatch([](LocalRank& self, const Tensor& x) {
                self.comm().all_reduce(self.communication(), x, Reduction::kMax, {7, "layers.0.weight"});
              }),
              Each(HasSubstr("(fp32, 48 bytes, maximum)")));
}

TEST(LocalMismatch, AMessageOfAnotherSizeIsNamed) {
  EXPECT_THAT(run_ranks(2, how(false),
                        [&](LocalRank& self) {
                          const Tensor x = self.zeros({4});
                          if (self.rank() == 0)
                            self.comm().exchange(self.communication(), {{{x, 1}}}, {}, {2, "activations"});
                          else
                            self.comm().exchange(self.communication(), {}, {{{x.rows(0, 2), 0}}}, {2, "activations"});
                          self.device().synchronize(self.communication());
                        }),
              Each(HasSubstr("rank 0 sends 16 bytes of fp32 where rank 1 receives 8 bytes of fp32")));
}

TEST(LocalFailure, RanksThatWaitForEachOtherAreADeadlockAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(run_ranks(2, how(false),
                        [&](LocalRank& self) {
                          const Tensor x = self.zeros({4});
                          if (self.rank() == 0)
                            self.comm().exchange(self.communication(), {}, {{{x, 1}}}, {2, "activations"});
                          else
                            self.comm().all_reduce(self.communication(), x, Reduction::kSum, {2, "w"});
                          self.device().synchronize(self.communication());
                        }),
              Each(AllOf(HasSubstr("deadlock"), HasSubstr("rank 0 is in exchange of \"activations\""),
                         HasSubstr("rank 1 is in all_reduce of \"w\""))));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));  // the timeout is 20
}

TEST(LocalFailure, ARankThatLeavesEndsThoseThatWaitForItAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::string> thrown = run_ranks(3, how(false), [&](LocalRank& self) {
    const Tensor x = self.zeros({4});
    if (self.rank() == 2) return;
    self.comm().all_reduce(self.communication(), x, Reduction::kSum, {5, "w"});
    self.device().synchronize(self.communication());
  });
  EXPECT_EQ(thrown[2], "");
  for (int rank : {0, 1})
    EXPECT_THAT(thrown[static_cast<std::size_t>(rank)],
                AllOf(HasSubstr("waits for rank 2, which left"), HasSubstr("all_reduce of \"w\""),
                      HasSubstr("rank 2 left: its communicator is gone")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(LocalFailure, ARankThatIsElsewhereIsNamedAtTheTimeout) {
  LocalRun run = how(false);
  run.timeout = std::chrono::milliseconds(100);
  const std::vector<std::string> thrown = run_ranks(2, run, [&](LocalRank& self) {
    const Tensor x = self.zeros({4});
    if (self.rank() == 1) {  // busy until its peer has given up
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
    }
    self.comm().all_reduce(self.communication(), x, Reduction::kSum, {5, "w"});
    self.device().synchronize(self.communication());
  });
  EXPECT_THAT(thrown, Each(AllOf(HasSubstr("rank 0 has waited for 100 ms"), HasSubstr("rank 1 has made no call yet"))));
}

TEST(LocalFailure, AFailureIsFinal) {
  const std::vector<std::string> thrown = run_ranks(2, how(false), [&](LocalRank& self) {
    try {
      self.comm().gather_to_all("", {self.rank(), "step differs"});
    } catch (const std::exception&) {
    }
    self.comm().gather_to_all("", {3, "the same"});
  });
  EXPECT_THAT(thrown, Each(HasSubstr("step differs")));
}

TEST(Slices, CoverEachElementOnce) {
  for (std::size_t count : {0u, 1u, 15u, 16u, 17u, 1000u})
    for (int size : {1, 2, 3, 7}) {
      std::size_t next = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Slice slice = slice_of(count, size, rank);
        EXPECT_EQ(slice.begin, next);
        next = slice.end;
      }
      EXPECT_EQ(next, count);
    }
}

}  // namespace
}  // namespace trireme
