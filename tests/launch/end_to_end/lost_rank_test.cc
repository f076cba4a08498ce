// A rank that dies or goes its own way ends the whole job, on the program itself: soon, with the exit code that scripts
// act on, and with a report that names the rank, its call and the tensor.
#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/end_to_end/command.h"
#include "tests/paths.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// Each claim is of the job's end, not of how long it takes: that is measured by hand (README.md of tests/).
constexpr const char* kLimit = "timeout 60 ";
constexpr int kKilled = 137;    // mpirun's own, of a rank that was
constexpr int kPeerFailed = 4;  // ours, where a survivor was quicker

struct Job {
  std::string mesh;  // options
  int ranks;
};
const Job kDpPp{" --set mesh.dp=2 --set mesh.pp=2", 4};
const Job kTp{" --set mesh.dp=1 --set mesh.tp=2", 2};

class MpiLostRank : public ::testing::Test {
 protected:
  MpiLostRank() {
    prepare_small_corpus(workspace_);
    file_ = write_small_run(workspace_,
                            "train: {steps: 100000, global_batch: 8, micro_batch: 2}\n"
                            "checkpoint: {every: 0}\nvalidation: {every: 0}\n");
  }

  // Rank `rank` ends by SIGKILL in step 3.
  CommandResult killed(const Job& job, int rank, const std::string& phase, int microseconds) const {
    return run_command(kLimit + under_mpi(job.ranks) + quoted(KILLED_TRAIN_BINARY) + " " + phase + " 3 " +
                       std::to_string(rank) + " " + std::to_string(microseconds) + " " + quoted(file_) + job.mesh);
  }
  // The last rank has options of its own.
  CommandResult apart(const Job& job, const std::string& options) const {
    const std::string train = quoted(TRIREME_BINARY) + " train " + quoted(file_) + job.mesh;
    return run_command(kLimit + under_mpi(job.ranks - 1) + train + " : -n 1 " + train + options);
  }

  const ScratchFolder workspace_;
  std::filesystem::path file_;
};

TEST_F(MpiLostRank, AKilledOneIsNamedWithItsCallAndTensor) {
  for (const auto& [job, rank, phase, microseconds] :
       {std::tuple(kDpPp, 2, "backward", 700), std::tuple(kDpPp, 3, "optimizer", 0),
        std::tuple(kTp, 1, "backward", 400)}) {
    const CommandResult result = killed(job, rank, phase, microseconds);
    EXPECT_THAT(result.exit_code, AnyOf(kKilled, kPeerFailed)) << result.output;
    EXPECT_THAT(result.output, ContainsRegex("rank " + std::to_string(rank) +
                                             " \\(process [0-9]+\\) died (in|between calls; its last was) [a-z_]+ of "
                                             "\"[^\"]+\".* in step [0-9]"));
  }
}

TEST_F(MpiLostRank, OneThatEntersAnotherCollectiveIsNamedWithBothCalls) {
  // Its stage's other rank holds whole values and goes on, it gathers them.
  const CommandResult zero = apart(kDpPp, " --set zero.stage=1");
  EXPECT_EQ(zero.exit_code, kPeerFailed) << zero.output;
  EXPECT_THAT(zero.output, AllOf(HasSubstr("ranks 2 and 3 make different calls"),
                                 ContainsRegex("rank 2 is in all_reduce of \"[^\"]+\""),
                                 ContainsRegex("rank 3 is in all_gather of \"values of [^\"]+\"")));
  // It runs its forward pass again, with the calls of that.
  const CommandResult again = apart(kTp, " --set recompute=full");
  EXPECT_EQ(again.exit_code, kPeerFailed) << again.output;
  EXPECT_THAT(again.output, AllOf(HasSubstr("ranks 0 and 1 make different calls"),
                                  ContainsRegex("rank 0 is in [a-z_]+ of \"[^\"]+\".* in step 1"),
                                  ContainsRegex("rank 1 is in [a-z_]+ of \"[^\"]+\".* in step 1")));
}

TEST_F(MpiLostRank, OneWithAnotherMeshIsNamedBeforeAnyWaits) {
  const CommandResult result = apart(kDpPp, " --set mesh.dp=4 --set mesh.pp=1");
  EXPECT_EQ(result.exit_code, 2) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("rank 0 was started with the mesh dp 2 x pp 2"),
                                   HasSubstr("and rank 3 with dp 4 x pp 1")));
}

}  // namespace
}  // namespace trireme
