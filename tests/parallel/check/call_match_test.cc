#include "parallel/check/call_match.h"

#include <functional>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/comm/mesh_communicators.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A rank that writes its calls down, on three streams as a step has them.
struct Scribe {
  Scribe(const MeshShape& mesh, int rank)
      : compute{device.create_stream(StreamKind::kCompute, "compute")},
        communication{device.create_stream(StreamKind::kCommunication, "communication")},
        transfers{device.create_stream(StreamKind::kCommunication, "transfers")},
        event(device.create_event()),
        world(rank, mesh.ranks(), &device),
        groups(mesh, world) {}

  void order(Stream first, Stream then) {
    device.record(first, event);
    device.wait(then, event);
  }
  static Tensor tensor(std::int64_t elements) { return {ShapeOnlyDevice::base(), DType::kF32, {elements}}; }
  void sum(Communicator& comm, Stream stream, const char* name, std::int64_t elements = 8, std::int64_t step = 1) {
    comm.all_reduce(stream, tensor(elements), Reduction::kSum, {step, name});
  }
  void send(int peer, const char* name, std::int64_t elements = 4) {
    groups.pp().exchange(transfers, {{{tensor(elements), peer}}}, {}, {1, name});
  }
  void receive(int peer, const char* name, std::int64_t elements = 4) {
    groups.pp().exchange(transfers, {}, {{{tensor(elements), peer}}}, {1, name});
  }

  RecordingDevice device;
  Stream compute, communication, transfers;
  Event event;
  RecordingCommunicator world;
  MeshCommunicators groups;
};

std::vector<std::string> problems_of(const MeshShape& mesh, const std::function<void(Scribe&, int rank)>& step) {
  std::vector<std::unique_ptr<Scribe>> scribes;
  std::vector<RankCalls> calls;
  for (int rank = 0; rank < mesh.ranks(); ++rank) {
    scribes.push_back(std::make_unique<Scribe>(mesh, rank));
    step(*scribes.back(), rank);
    const RecordingCommunicator& world = scribes.back()->world;
    calls.push_back({rank, world.calls(), world.before(), world.groups()});
  }
  return call_problems(calls);
}

constexpr MeshShape kSquare{2, 1, 1, 2, 1};  // tp groups {0, 1} and {2, 3}; dp groups {0, 2} and {1, 3}

void sound_step(Scribe& self) {
  self.sum(self.groups.tp(), self.compute, "layers.0.output");
  self.sum(self.groups.tp(), self.compute, "layers.1.output");
  self.order(self.compute, self.communication);
  self.sum(self.groups.dp(), self.communication, "layers.1.weight", 100);
  self.sum(self.groups.dp(), self.communication, "layers.0.weight", 50);
  self.order(self.communication, self.compute);
  self.sum(self.world, self.compute, "norm", 1);
}

TEST(CallProblems, AreNoneWhereAllRanksDoTheSame) {
  EXPECT_THAT(problems_of(kSquare, [](Scribe& self, int) { sound_step(self); }), IsEmpty());
  EXPECT_THAT(problems_of({3, 2, 1, 2, 1}, [](Scribe& self, int) { sound_step(self); }), IsEmpty());
  EXPECT_THAT(problems_of(kSquare, [](Scribe&, int) {}), IsEmpty());
}

TEST(CallProblems, AMissingCallIsSeenWhereThePeersMakeIt) {
  const auto told = problems_of(kSquare, [](Scribe& self, int rank) {
    self.sum(self.groups.dp(), self.communication, "layers.1.weight");
    if (rank != 3) self.sum(self.groups.dp(), self.communication, "layers.0.weight");
  });
  EXPECT_THAT(told, ElementsAre(AllOf(HasSubstr("rank 1 waits for ever in all_reduce of \"layers.0.weight\" (fp32, 32 "
                                                "bytes) in step 1 in dp"),
                                      HasSubstr("for rank 3, which has no call left"))));
}

TEST(CallProblems, AMissingCallBeforeOthersIsAMismatch) {
  EXPECT_THAT(problems_of(kSquare,
                          [](Scribe& self, int rank) {
                            if (rank != 2) self.sum(self.groups.tp(), self.compute, "layers.0.output");
                            self.sum(self.groups.tp(), self.compute, "layers.1.output");
                          }),
              Contains(AllOf(HasSubstr("rank 2 makes all_reduce of \"layers.1.output\""),
                             HasSubstr("rank 3 makes all_reduce of \"layers.0.output\""))));
}

TEST(CallProblems, SwappedCallsOtherSizesTensorsStepsAndReductionsAreNamed) {
  const auto odd = [](const std::function<void(Scribe&)>& rank_1) {
    return problems_of(kSquare, [&](Scribe& self, int rank) {
      if (rank == 1) return rank_1(self);
      self.sum(self.groups.dp(), self.communication, "a");
      self.sum(self.groups.dp(), self.communication, "b");
    });
  };
  EXPECT_THAT(
      odd([](Scribe& self) {
        self.sum(self.groups.dp(), self.communication, "b");
        self.sum(self.groups.dp(), self.communication, "a");
      }),
      Contains(AllOf(HasSubstr("rank 1 makes all_reduce of \"b\""), HasSubstr("rank 3 makes all_reduce of \"a\""))));
  EXPECT_THAT(odd([](Scribe& self) { self.sum(self.groups.dp(), self.communication, "a", 9); }),
              Contains(AllOf(HasSubstr("(fp32, 36 bytes)"), HasSubstr("(fp32, 32 bytes)"))));
  EXPECT_THAT(odd([](Scribe& self) { self.sum(self.groups.dp(), self.communication, "c"); }),
              Contains(HasSubstr("rank 1 makes all_reduce of \"c\"")));
  EXPECT_THAT(odd([](Scribe& self) { self.sum(self.groups.dp(), self.communication, "a", 8, 2); }),
              Contains(AllOf(HasSubstr("in step 2"), HasSubstr("in step 1"))));
  EXPECT_THAT(odd([](Scribe& self) {
                self.groups.dp().all_reduce(self.communication, Scribe::tensor(8), Reduction::kMax, {1, "a"});
              }),
              Contains(HasSubstr("(fp32, 32 bytes, maximum)")));
  EXPECT_THAT(odd([](Scribe& self) {
                self.groups.dp().broadcast(self.communication, Scribe::tensor(8), 0, {1, "a"});
              }),
              Contains(HasSubstr("rank 1 makes broadcast of \"a\" (fp32, 32 bytes, from member 0)")));
}

constexpr MeshShape kPipe{1, 4, 1, 1, 1};

TEST(CallProblems, APipelineOfTransfersRuns) {
  EXPECT_THAT(problems_of(kPipe,
                          [](Scribe& self, int rank) {
                            for (int i = 0; i < 3; ++i) {
                              if (rank > 0) self.receive(rank - 1, "activations");
                              self.order(self.transfers, self.compute);
                              self.order(self.compute, self.transfers);
                              if (rank < 3) self.send(rank + 1, "activations");
                            }
                          }),
              IsEmpty());
}

TEST(CallProblems, ExchangesThatCrossDeadlockAndTheRanksInTheCircleAreNamed) {
  const auto crossing = [](Scribe& self, int rank) {
    if (rank > 1) return;
    self.send(1 - rank, rank == 0 ? "activations" : "gradients");
    self.receive(1 - rank, rank == 0 ? "gradients" : "activations");
  };
  EXPECT_THAT(problems_of(kPipe, crossing),
              ElementsAre(AllOf(HasSubstr("rank 0 waits for ever in exchange of \"activations\""),
                                HasSubstr("for rank 1, which is in exchange of \"gradients\"")),
                          AllOf(HasSubstr("rank 1 waits for ever in exchange of \"gradients\""),
                                HasSubstr("for rank 0, which is in exchange of \"activations\""))));
  const auto paired = [](Scribe& self, int rank) {
    if (rank > 1) return;
    self.groups.pp().exchange(self.transfers, {{{Scribe::tensor(4), 1 - rank}}}, {{{Scribe::tensor(4), 1 - rank}}},
                              {1, "both"});
  };
  EXPECT_THAT(problems_of(kPipe, paired), IsEmpty());
}

TEST(CallProblems, AMessageOfAnotherSizeIsNamedOnBothSides) {
  EXPECT_THAT(problems_of(kPipe,
                          [](Scribe& self, int rank) {
                            if (rank == 2) self.send(3, "activations", 4);
                            if (rank == 3) self.receive(2, "activations", 5);
                          }),
              ElementsAre(AllOf(HasSubstr("rank 2 sends 16 bytes"), HasSubstr("where rank 3 receives 20 bytes"))));
}

// What one group waits for may stand behind another group's call.
TEST(CallProblems, GroupsThatWaitForEachOtherDeadlockWhereTheOrderSaysSo) {
  const auto step = [](bool ordered) {
    return [=](Scribe& self, int rank) {
      const bool dp_first = rank == 0 || rank == 3;
      const auto dp = [&] { self.sum(self.groups.dp(), self.communication, "w"); };
      const auto tp = [&] { self.sum(self.groups.tp(), self.transfers, "y"); };
      dp_first ? dp() : tp();
      if (ordered)
        self.order(dp_first ? self.communication : self.transfers, dp_first ? self.transfers : self.communication);
      dp_first ? tp() : dp();
    };
  };
  EXPECT_THAT(problems_of(kSquare, step(false)), IsEmpty()) << "the streams are free of each other";
  EXPECT_THAT(problems_of(kSquare, step(true)),
              Contains(AllOf(HasSubstr("rank 0 waits for ever in all_reduce of \"w\""),
                             HasSubstr("for rank 2, which is in"), HasSubstr("\"y\""))));
}

TEST(CallProblems, WhatTheCallerWaitsForHoldsUpAllThatItPutsOnStreamsLater) {
  // Rank 0 waits for dp before it makes its tp call, rank 1's tp call comes before its dp.
  const auto told = problems_of({2, 1, 1, 2, 1}, [](Scribe& self, int rank) {
    if (rank % 2 == 0) {
      self.sum(self.groups.dp(), self.communication, "w");
      self.order(self.communication, self.compute);  // runs in the caller
      self.sum(self.groups.tp(), self.transfers, "y");
    } else {
      self.sum(self.groups.tp(), self.transfers, "y");
      self.device.synchronize(self.transfers);
      if (rank == 1) self.sum(self.groups.dp(), self.communication, "w");
    }
  });
  EXPECT_THAT(told, ElementsAre(AllOf(HasSubstr("rank 1 waits for ever in all_reduce of \"w\""),
                                      HasSubstr("rank 3, which has no call left"))));
}

TEST(CallProblems, LeavesOutMembersThatAreNotGiven) {
  Scribe self(kSquare, 1);
  sound_step(self);
  const RankCalls calls{1, self.world.calls(), self.world.before(), self.world.groups()};
  EXPECT_THAT(call_problems({&calls, 1}), IsEmpty());
}

}  // namespace
}  // namespace trireme
