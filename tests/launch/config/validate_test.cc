#include "launch/config/validate.h"

#include <cstdio>
#include <cstring>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/config/problems_of.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(Validate, AcceptsTheSmallestConfiguration) { EXPECT_EQ(problems_of(kSound), ""); }

TEST(Validate, HeadsMustDivideTheHiddenSizeUnlessHeadDimIsGiven) {
  EXPECT_THAT(
      problems_of(kSound + "model: {hidden_size: 64, heads: 3}\n"),
      HasSubstr("run.yaml:2:33: model.heads: 3 heads do not divide hidden_size 64; the nearest that do are 2 and 4"));
  EXPECT_EQ(problems_of(kSound + "model: {family: llama, hidden_size: 64, heads: 3, head_dim: 32}\n"), "");
  EXPECT_THAT(problems_of(kSound + "model: {family: gpt2, hidden_size: 64, heads: 3, head_dim: 32}\n"),
              HasSubstr("heads x head_dim is 96"));
  EXPECT_THAT(problems_of(kSound + "model: {hidden_size: 100}\n"),
              HasSubstr("run.yaml:2:22: model.hidden_size: 12 heads"));
}

TEST(Validate, KvHeadsMustDivideHeads) {
  EXPECT_THAT(problems_of(kSound + "model: {family: llama, kv_heads: 5}\n"),
              HasSubstr("model.kv_heads: 5 kv_heads do not divide 12 heads; the nearest that do are 4 and 6"));
  EXPECT_THAT(problems_of(kSound + "model: {family: gpt2, kv_heads: 4}\n"),
              HasSubstr("in the gpt2 family they are equal"));
}

TEST(Validate, RotaryPositionsNeedAnEvenHeadDim) {
  EXPECT_THAT(problems_of(kSound + "model: {family: llama, hidden_size: 60, heads: 4}\n"),
              HasSubstr("head_dim 15 is odd, and rotary positions turn pairs; the nearest that do are 14 and 16"));
  EXPECT_EQ(problems_of(kSound + "model: {family: gpt2, hidden_size: 60, heads: 4}\n"), "");
}

TEST(Validate, WantsExactlyOneBudget) {
  EXPECT_EQ(problems_of(""), "run.yaml: train.steps: there is no budget; write train.steps or train.tokens");
  EXPECT_EQ(problems_of("train: {steps: 5, tokens: 7}"),
            "run.yaml:1:27: train.tokens: there are two budgets, train.steps = 5 and train.tokens = 7; keep one");
  EXPECT_EQ(problems_of("train: {tokens: 7}"), "");
  EXPECT_THAT(problems_of("train: {steps: 5}\noptimizer: {warmup_steps: 6}\n"),
              HasSubstr("6 steps of warm-up in a run of 5"));
}

TEST(Validate, AMissingBudgetHidesNoOtherProblem) {
  EXPECT_THAT(problems_of("train: {global_batch: 6, micro_batch: 4}\n"),
              AllOf(HasSubstr("there is no budget"), HasSubstr("micro-batches of 4 do not divide the 6")));
}

TEST(Validate, BatchesMustDivide) {
  EXPECT_THAT(problems_of("train: {steps: 1, global_batch: 10}\nmesh: {dp: 4}\n"),
              HasSubstr("train.global_batch: 10 samples do not divide over dp = 4; the nearest that do are 8 and 12"));
  EXPECT_THAT(problems_of("train: {steps: 1, global_batch: 24, micro_batch: 5}\nmesh: {dp: 2}\n"),
              HasSubstr("run.yaml:1:50: train.micro_batch: micro-batches of 5 do not divide the 12 samples of a rank "
                        "(global_batch 24 "
                        "over dp = 2); the nearest that do are 4 and 6"));
  EXPECT_THAT(problems_of("train: {steps: 1, global_batch: 8}\n", {}, 3),
              HasSubstr("over dp = 3; the nearest that do are 6 and 9"));
}

TEST(Validate, ExactGroupsAreAPowerOfTwoThatTheBatchAndDpShare) {
  const std::string exact = "numerics: exact\n";
  EXPECT_EQ(problems_of(exact + "train: {steps: 1, global_batch: 12, exact_groups: 4}\nmesh: {dp: 2}\n"), "");
  EXPECT_THAT(problems_of(exact + "train: {steps: 1, global_batch: 12, exact_groups: 8}\n"),
              HasSubstr("needs a power of two that divides global_batch 12, not 8; the nearest that does is 4"));
  EXPECT_THAT(problems_of(exact + "train: {steps: 1, global_batch: 16, exact_groups: 2}\nmesh: {dp: 4}\n"),
              HasSubstr("and is a multiple of dp = 4, not 2; the nearest that does is 4"));
  EXPECT_THAT(problems_of(exact + "train: {steps: 1, global_batch: 12}\nmesh: {dp: 3}\n"),
              HasSubstr("there is none: choose another global_batch or dp"));
  EXPECT_EQ(problems_of("train: {steps: 1, global_batch: 12, exact_groups: 8}\nmesh: {dp: 3}\n"), "") << "fast";
}

TEST(Validate, ExactGroupsFollowFromTheBatchAndNeverFromTheLayout) {
  for (const char* dp : {"1", "2", "4"}) {
    const LoadedRun loaded = load_run_text("train: {steps: 1, global_batch: 12}\nnumerics: exact\n", "f",
                                           {std::string("mesh.dp=") + dp}, std::nullopt);
    EXPECT_EQ(loaded.run.train().exact_groups(), 4);
  }
}

TEST(Validate, LearningRatesAndBetasMustMakeSense) {
  EXPECT_THAT(problems_of(kSound + "optimizer: {learning_rate: 1e-4, min_learning_rate: 1e-3}\n"),
              HasSubstr("run.yaml:2:53: optimizer.min_learning_rate: 0.001 is more than learning_rate 1e-04"));
  EXPECT_EQ(problems_of(kSound + "optimizer: {learning_rate: 1e-5}\n"), "") << "the default minimum gives way";
  EXPECT_THAT(problems_of(kSound + "optimizer: {beta1: 1, beta2: -0.1, epsilon: 0}\n"),
              AllOf(HasSubstr("beta1: 1 is too large; it must be less than 1"),
                    HasSubstr("beta2: -0.1 is too small; it must be at least 0"),
                    HasSubstr("epsilon: 0 is too small; it must be more than 0")));
}

TEST(Validate, LossScalesArePowersOfTwoThatTheirLeastDoesNotExceed) {
  EXPECT_EQ(problems_of(kSound + "loss_scale: {initial: 1048576, growth_interval: 500, min: 0.25}\n"), "");
  EXPECT_THAT(problems_of(kSound + "loss_scale: {initial: 1000, backoff_factor: 0.3}\n"),
              AllOf(HasSubstr("run.yaml:2:23: loss_scale.initial: 1000 is no power of two, and would round every "
                              "gradient; the nearest are 512 and 1024"),
                    HasSubstr("backoff_factor: 0.3 is no power of two, and would round every gradient; the nearest are "
                              "0.25 and 0.5")));
  EXPECT_THAT(problems_of(kSound + "loss_scale: {initial: 16, min: 32}\n"),
              HasSubstr("loss_scale.min: 32 is more than initial 16"));
  EXPECT_THAT(problems_of(kSound + "loss_scale: {growth_interval: 0, growth_factor: 0.5, backoff_factor: 1}\n"),
              AllOf(HasSubstr("growth_interval: 0 is too small; it must be at least 1"),
                    HasSubstr("growth_factor: 0.5 is too small; it must be at least 1"),
                    HasSubstr("backoff_factor: 1 is too large; it must be less than 1")));
}

TEST(Validate, TheMeshMustBeTheRanks) {
  EXPECT_EQ(problems_of(kSound, {}, 4), "");
  EXPECT_THAT(problems_of(kSound + "mesh: {dp: 2}\n", {}, 4),
              HasSubstr("dp x pp x cp x tp = 2, but this run has 4 ranks; start 2 or leave dp out"));
  EXPECT_THAT(problems_of(kSound + "mesh: {tp: 3}\n", {}, 4),
              HasSubstr("mesh.tp: pp x cp x tp = 3 does not divide the 4 ranks"));
}

TEST(Validate, ABadMeshIsToldEveryReasonAndTheNearestMeshesThatWork) {
  // 12 heads, 12 layers, a batch of 8.
  const std::string told = problems_of("train: {steps: 1, global_batch: 8}\nmesh: {dp: 3, pp: 13, tp: 8}\n", {}, 16);
  EXPECT_THAT(told, AllOf(HasSubstr("train.global_batch: 8 samples do not divide over dp = 3"),
                          HasSubstr("mesh.pp: 13 stages (pp x chunks) of 12 layers"),
                          HasSubstr("mesh.tp: tp = 8 does not divide heads 12; the nearest that do are 6 and 12"),
                          HasSubstr("of the meshes of 16 ranks these would work: ")));
  EXPECT_THAT(problems_of(kSound + "mesh: {dp: 1, tp: 5}\n"), HasSubstr("of the meshes of 5 ranks these would work: "));
  EXPECT_THAT(problems_of(kSound + "mesh: {tp: 5}\n"), testing::Not(HasSubstr("would work")));
}

TEST(Validate, MeshesThatAreSuggestedAreAccepted) {
  const std::string batch = "train: {steps: 1, global_batch: 24, micro_batch: 2}\n";
  for (int ranks : {2, 6, 8, 24, 36, 48})
    for (const char* mesh : {"dp: 5", "tp: 5", "pp: 5, tp: 4", "dp: 7, pp: 11, tp: 8", "dp: 3, cp: 3"}) {
      std::string told = problems_of(batch + "mesh: {" + mesh + "}\n", {}, ranks);
      const std::size_t at = told.find("would work: ");
      if (at == std::string::npos) continue;
      int dp = 0, pp = 0, cp = 0, tp = 0, seen = 0;
      for (const char* next = told.c_str() + at + 12; next != nullptr; next = std::strchr(next, ';')) {
        next += *next == ';' ? 2 : 0;
        ASSERT_EQ(std::sscanf(next, "dp %d x pp %d x cp %d x tp %d", &dp, &pp, &cp, &tp), 4) << told;
        EXPECT_EQ(problems_of(batch + "mesh: {dp: " + std::to_string(dp) + ", pp: " + std::to_string(pp) +
                                  ", cp: " + std::to_string(cp) + ", tp: " + std::to_string(tp) + "}\n",
                              {}, ranks),
                  "");
        ++seen;
      }
      EXPECT_GE(seen, 1);
    }
}

TEST(Validate, AnOrderOfAxesNamesEachOnce) {
  EXPECT_EQ(problems_of(kSound + "mesh: {order: pp dp tp cp}\n"), "");
  EXPECT_THAT(problems_of(kSound + "mesh: {order: tp dp}\n"),
              HasSubstr("run.yaml:2:15: mesh.order: \"tp dp\" is no order of the axes"));
}

TEST(Validate, LayoutsMustCutTheModelEvenly) {
  EXPECT_EQ(problems_of(kSound + "mesh: {pp: 5}\n"), "") << "stages may be uneven";
  EXPECT_THAT(problems_of(kSound + "mesh: {pp: 13}\n"), HasSubstr("13 stages (pp x chunks) of 12 layers"));
  EXPECT_THAT(problems_of(kSound + "mesh: {tp: 8}\n"),
              HasSubstr("tp = 8 does not divide heads 12; the nearest that do are 6 and 12"));
  EXPECT_EQ(problems_of(kSound + "mesh: {tp: 6}\nmodel: {ffn_size: 3071, vocab_size: 50257}\n"), "");
  EXPECT_THAT(problems_of(kSound + "mesh: {tp: 6}\nmodel: {ffn_size: 5, vocab_size: 4}\n"),
              AllOf(HasSubstr("tp = 6 is more than ffn_size 5, and every rank needs a part of it; the largest that "
                              "works is 5"),
                    HasSubstr("tp = 6 is more than vocab_size 4")));
  EXPECT_THAT(problems_of(kSound + "mesh: {cp: 3}\n"), HasSubstr("2 x cp = 6 must divide sequence_length 1024"));
  EXPECT_THAT(problems_of(kSound + "mesh: {ep: 2}\n"), HasSubstr("needs experts"));
  EXPECT_THAT(problems_of(kSound + "pipeline: {chunks: 2}\n"),
              HasSubstr("pipeline.chunks: 2 chunks a rank are the interleaved-1f1b schedule's"));
  EXPECT_THAT(problems_of(kSound + "pipeline: {chunks: 7, schedule: interleaved-1f1b}\nmesh: {pp: 2}\n"),
              HasSubstr("14 stages (pp x chunks) of 12 layers"));
  EXPECT_THAT(
      problems_of("train: {steps: 1, global_batch: 6}\npipeline: {schedule: interleaved-1f1b}\nmesh: {pp: 4}\n"),
      HasSubstr("not 6 but 4 or 8"));
}

TEST(Validate, RecomputationIsChosenForAllStagesOrForEach) {
  EXPECT_EQ(problems_of(kSound + "mesh: {pp: 2}\nrecompute: [full, none]\n"), "");
  EXPECT_EQ(problems_of(kSound + "mesh: {pp: 2}\npipeline: {schedule: interleaved-1f1b, chunks: 2}\n"
                                 "recompute: [full, none]\n"),
            "")
      << "chunks share the choice of their rank";
  EXPECT_EQ(problems_of(kSound + "mesh: {pp: 2}\nrecompute: [full, none, none]\n"),
            "run.yaml:3:12: recompute: 3 choices for the 2 stages of mesh.pp = 2; write one for all of them, or one "
            "for each");
  EXPECT_EQ(problems_of(kSound, {"recompute=[full,none]"}),
            "--set recompute=[full,none]: recompute: 2 choices for the 1 stage of mesh.pp = 1; write one for all of "
            "them, or one for each");
  EXPECT_THAT(problems_of(kSound + "mesh: {dp: 8}\nrecompute: [full, none]\n", {}, 8),
              HasSubstr("of the meshes of 8 ranks these would work: dp 4 x pp 2"));
}

TEST(CheckRunnableHere, RefusesByNameWhatIsOnlyPlanned) {
  const LoadedRun cluster = load_run_text(kSound + "mesh: {pp: 2, cp: 2, tp: 2}\nrecompute: full\ndevice: cuda\n",
                                          "run.yaml", {}, std::nullopt);
  try {
    check_runnable_here(cluster);
    FAIL() << "must throw";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), AllOf(Not(HasSubstr("mesh.pp")), HasSubstr("mesh.cp: context parallelism"),
                                    Not(HasSubstr("device")), HasSubstr("data.path: no data set")));
  }
}

}  // namespace
}  // namespace trireme
