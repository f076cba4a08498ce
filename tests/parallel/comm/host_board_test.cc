#include "parallel/comm/host_board.h"

#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "monitoring/error.h"
#include "parallel/comm/host_transport.h"
#include "tests/parallel/comm/tree_reference.h"

// Between processes ThreadSanitizer sees nothing, so here the ranks of a host are threads on the same shared memory.
namespace trireme {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;

using Memory = std::unique_ptr<std::byte, decltype(&std::free)>;

Memory shared_memory(std::size_t bytes) {
  const std::size_t page = 4096;
  return {static_cast<std::byte*>(std::aligned_alloc(page, (bytes + page - 1) / page * page)), &std::free};
}

// What each rank threw; "" if nothing.
std::vector<std::string> on_board(int size, std::chrono::milliseconds timeout,
                                  const std::function<void(std::unique_ptr<HostBoard>)>& body) {
  const Memory memory = shared_memory(HostBoard::bytes(size));
  HostBoard::prepare(memory.get(), size);
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(std::make_unique<HostBoard>(memory.get(), rank, Members::world(size), timeout));
      } catch (const PeerError& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

Call call_of(std::string_view tensor, std::int64_t step) {
  return make_call(Op::kAllReduce, {step, tensor}, DType::kF32, 400);
}

TEST(LocalBoard, WhatWasWrittenBeforeAPointIsSeenByWhoAwaitsIt) {
  constexpr int kSize = 3;
  std::vector<int> places(kSize);
  EXPECT_THAT(on_board(kSize, std::chrono::seconds(20),
                       [&](std::unique_ptr<HostBoard> board) {
                         for (int round = 0; round < 200; ++round) {
                           board->meet(call_of("x", round));
                           places[static_cast<std::size_t>(board->rank())] = round;
                           board->await_all(board->pass());
                           for (int place : places) ASSERT_EQ(place, round);
                           board->await_all(board->pass());
                         }
                       }),
              Each(""));
}

TEST(LocalBoard, AMismatchIsNamedOnEveryRank) {
  EXPECT_THAT(on_board(3, std::chrono::seconds(20),
                       [&](std::unique_ptr<HostBoard> board) {
                         board->meet(call_of("same", 1));
                         board->meet(call_of(board->rank() == 2 ? "odd" : "even", 2));
                       }),
              Each(AllOf(HasSubstr("make different calls"), HasSubstr("step 2"))));
}

TEST(LocalBoard, ARankThatLeavesEndsThoseThatWaitForItAtOnce) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<std::string> thrown = on_board(3, std::chrono::seconds(20), [](std::unique_ptr<HostBoard> board) {
    board->meet(call_of("w", 1));
    if (board->rank() != 1) board->meet(call_of("w", 2));
  });
  EXPECT_EQ(thrown[1], "");
  for (std::size_t rank : {0u, 2u})
    EXPECT_THAT(thrown[rank], AllOf(HasSubstr("which left"), HasSubstr("rank " + std::to_string(rank) + " is in")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(LocalBoard, ARankThatIsElsewhereIsNamedAtTheTimeout) {
  const std::vector<std::string> thrown =
      on_board(2, std::chrono::milliseconds(100), [](std::unique_ptr<HostBoard> board) {
        board->meet(call_of("w", 1));
        if (board->rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(600));
        board->meet(call_of("w", 2));
      });
  EXPECT_THAT(thrown[0], AllOf(HasSubstr("rank 0 has waited for 100 ms"),
                               HasSubstr("rank 1 has not come; its last call was all_reduce of \"w\"")));
}

// More than once: the second call writes past the caches.
void expect_tree_sums(const std::optional<PeerMemory>& reached) {
  constexpr int kSize = 3;
  const std::size_t count = 19 * HostTransport::kPieceBytes / sizeof(float) + 333;
  ASSERT_GE(count * sizeof(float), HostTransport::kDirectBytes);
  const std::vector<float> expected = summed_values(count, 40, kSize);
  const Memory memory = shared_memory(kSize * HostTransport::kPartBytes);
  std::vector<std::byte*> parts;
  for (std::size_t rank = 0; rank < kSize; ++rank) parts.push_back(memory.get() + rank * HostTransport::kPartBytes);
  EXPECT_THAT(on_board(kSize, std::chrono::seconds(60),
                       [&](std::unique_ptr<HostBoard> board) {
                         const int rank = board->rank();
                         HostTransport transport(std::move(board), parts, reached);
                         const std::vector<float> mine = uneven_values(count, 40 + static_cast<std::uint64_t>(rank));
                         for (int i = 0; i < 3; ++i) {
                           std::vector<float> values = mine;
                           const Tensor x{reinterpret_cast<std::byte*>(values.data()),
                                          DType::kF32,
                                          {static_cast<std::int64_t>(count)}};
                           transport.all_reduce(call_of("x", i), x, Reduction::kSum);
                           EXPECT_TRUE(values == expected) << i;
                         }
                       }),
              Each(""));
}

TEST(LocalBoard, PiecesAreSummedInTheTreeAndNoPlaceIsWrittenTooEarly) { expect_tree_sums(std::nullopt); }

// Threads are one process, which may read itself where it may read others.
TEST(LocalBoard, WhatIsSummedDirectlyIsSummedInTheSameTree) {
  PeerMemory memory(std::vector<PeerMemory::Card>(3, PeerMemory::own_card()));
  if (!memory.reaches_all()) GTEST_SKIP() << "needs process_vm_readv: the kernel forbids it here";
  expect_tree_sums(memory);
}

TEST(PeerMemory, IsNotReachedOfAnotherProcessOrAtAnotherPlace) {
  PeerMemory::Card card = PeerMemory::own_card();
  card.word += 1;  // as another process has it in that place
  EXPECT_FALSE(PeerMemory({card}).reaches_all());
  card = PeerMemory::own_card();
  card.address = 8;  // nothing is mapped there
  EXPECT_FALSE(PeerMemory({card}).reaches_all());
}

}  // namespace
}  // namespace trireme
