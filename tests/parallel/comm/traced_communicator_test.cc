#include "parallel/comm/traced_communicator.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/parallel/local_ranks.h"

namespace trireme {
namespace {

TEST(LocalTracedCommunicator, MakesTheCallsAndASpanOfEach) {
  expect_ranks(2, {}, [&](LocalRank& self) {
    Trace trace(self.rank());
    TracedCommunicator comm(self.comm(), self.device(), trace.track("tensor parallelism"));
    EXPECT_EQ(comm.size(), 2);
    EXPECT_EQ(comm.rank(), self.rank());
    const Tensor mine = self.floats({1, 2}), all = self.zeros({2, 2});
    self.device().synchronize(self.communication());
    comm.all_gather(self.compute(), all, mine, {4, "rows"});
    comm.all_reduce(self.compute(), mine, Reduction::kSum, {5, "sum"});
    const Transfer send{mine, 1 - self.rank()}, receive{all.rows(0, 1), 1 - self.rank()};
    comm.exchange(self.compute(), {&send, 1}, {&receive, 1}, {6, "both ways"});
    self.device().synchronize(self.compute());
    EXPECT_EQ(self.read<float>(all), (std::vector<float>{2, 4, 1, 2}));
    EXPECT_EQ(comm.gather_to_all("x", {7, "outside"}).size(), 2u);

    std::vector<std::string> names;
    for (const TraceEvent& span : trace.events()) {
      names.push_back(span.name + ", step " + std::to_string(span.step));
      EXPECT_EQ(span.track, "tensor parallelism");
      EXPECT_LE(span.begin_ns, span.end_ns);
    }
    EXPECT_EQ(names, (std::vector<std::string>{"all_gather of rows, step 4", "all_reduce of sum, step 5",
                                               "exchange of both ways, step 6"}));
  });
}

}  // namespace
}  // namespace trireme
