// `trireme verify` on the layouts there are, and on mistakes planted at its seams.
#include "trainer/verify/verify.h"

#include <stdexcept>

#include <gtest/gtest.h>

#include "cuda/host/host_device.h"
#include "launch/config/load.h"
#include "launch/verify/verify_run.h"

namespace trireme {
namespace {

config::Run small_run(const std::string& layout) {
  config::Run run = load_run_text(
                        "data: {path: /nonexistent}\n"
                        "model: {family: llama, layers: 2, hidden_size: 16, heads: 2, kv_heads: 1, ffn_size: 24,\n"
                        "  vocab_size: 33, sequence_length: 8, tied_embeddings: true, dropout: 0.1}\n"
                        "train: {steps: 3, global_batch: 8, micro_batch: 2, label_smoothing: 0.1, z_loss: 0.01}\n" +
                            layout,
                        "small.yaml", {}, {})
                        .run;
  if (!run.mesh().has_dp()) run.mutable_mesh()->set_dp(1);
  return run;
}

TEST(Verify, FindsNothingWhereNothingIsWrong) {
  const VerifyReport report = verify_run(small_run("mesh: {dp: 2}\n"));
  EXPECT_TRUE(report.agrees) << report.text;
  EXPECT_NE(report.text.find("The layout is not part of this experiment."), std::string::npos) << report.text;
}

TEST(Verify, TriesALossScaleThatMoves) {
  config::Run run = small_run("mesh: {dp: 2, pp: 2}\nzero: {stage: 1}\n");
  run.mutable_train()->set_precision(config::fp16);
  const VerifyReport report = verify_run(run);
  EXPECT_TRUE(report.agrees) << report.text;
  EXPECT_NE(report.text.find("loss_scale.growth_interval"), std::string::npos) << report.text;
}

TEST(Verify, TriesStagesThatRecomputeUnlikeParts) {
  const VerifyReport report = verify_run(small_run("mesh: {pp: 2}\nrecompute: [full, none]\n"));
  EXPECT_TRUE(report.agrees) << report.text;
  EXPECT_NE(report.text.find("on dp=1 pp=2 tp=1 1f1b recompute=[full, none]"), std::string::npos) << report.text;
}

TEST(Verify, SuspectsRecomputationAndLeavesItWhenThePipelineGoes) {
  const Layout layout{.mesh = {.pp = 2}, .recompute = Recomputation({config::none, config::full})};
  const std::vector<Suspect> all = suspects(layout, 1);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].name, "mesh.pp = 2");
  EXPECT_EQ(all[0].without.recompute, config::full);
  EXPECT_EQ(all[1].name, "recompute: [none, full]");
  EXPECT_FALSE(all[1].without.recompute.any());
}

TEST(Verify, NamesTheParameterThatDiffersItsBoundAndTheAxis) {
  // A rank adds its gradients of weights a second time.
  TrialSeams seams;
  seams.kernels = [](const Kernels& honest, const AxisPlaces& places) {
    Kernels planted = honest;
    if (places[Axis::kDp].index == 1)
      planted.rmsnorm_backward_weight = [](Stream stream, Tensor dw, Tensor dy, Tensor x, Tensor rstd) {
        host_kernels().rmsnorm_backward_weight(stream, dw, dy, x, rstd);
        host_kernels().rmsnorm_backward_weight(stream, dw, dy, x, rstd);
      };
    return planted;
  };
  const VerifyReport report = verify_run(small_run("mesh: {dp: 2}\n"), &seams);
  EXPECT_FALSE(report.agrees);
  EXPECT_NE(report.text.find("gradient of final_norm.weight, step 1"), std::string::npos) << report.text;
  EXPECT_NE(report.text.find("the same bits"), std::string::npos) << report.text;
  EXPECT_EQ(report.text.find("gradient of head"), std::string::npos) << report.text;
  EXPECT_NE(report.text.find("Without mesh.dp = 2 it agrees."), std::string::npos) << report.text;
}

TEST(Verify, SaysWhichRankDidNotGetThrough) {
  TrialSeams seams;
  seams.kernels = [](const Kernels& honest, const AxisPlaces& places) -> Kernels {
    if (places[Axis::kDp].index == 1) throw std::runtime_error("the device of this rank is gone");
    return honest;
  };
  const VerifyReport report = verify_run(small_run("mesh: {dp: 2}\n"), &seams);
  EXPECT_FALSE(report.agrees);
  EXPECT_NE(report.text.find("rank 1: the device of this rank is gone"), std::string::npos) << report.text;
}

}  // namespace
}  // namespace trireme
