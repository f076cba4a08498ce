#include "trainer/model/parameters.h"

#include <set>

#include <gtest/gtest.h>

#include "tests/cuda/oracle/philox.h"
#include "tests/trainer/small_model.h"
#include "tests/trainer/test_rank.h"

namespace trireme {
namespace {

std::vector<ParamSpec> parameters_of(config::Model::Family family, bool tied) {
  ParamList list;
  const config::Model model = small_model(family, tied);
  make_stage(model, {}, whole_model(model), list);
  return list.specs();
}

class InitialWeights : public testing::Test {
 protected:
  InitialWeights() : group_(1), rank_(group_, 0, {}, std::size_t{16} << 20) {}

  std::vector<double> box(const ParamSpec& spec, const Box& box, std::uint64_t seed, DType dtype = DType::kF32) {
    const ArenaTensor x = rank_.context().arena->allocate(box.size, dtype, "parameters");
    initialize(rank_.context(), x, spec, box.begin, seed);
    return rank_.read(x);
  }
  std::vector<double> all(const ParamSpec& spec, std::uint64_t seed, DType dtype = DType::kF32) {
    return box(spec, whole(spec.shape), seed, dtype);
  }

  LocalGroup group_;
  TestRank rank_;
};

TEST_F(InitialWeights, AreTheSameHoweverAParameterIsCut) {
  for (const auto family : {config::Model::gpt2, config::Model::llama})
    for (ParamSpec spec : parameters_of(family, true)) {
      const std::vector<double> uncut = all(spec, 11);
      for (int dim = 0; dim < spec.shape.dims(); ++dim)
        for (const int other : {0, spec.shape.dims() - 1}) {
          spec.cuts = {{dim, Axis::kTp}, {other, Axis::kDp}};
          std::vector<double> joined(uncut.size(), -1);
          for (int tp = 0; tp < 3; ++tp)
            for (int dp = 0; dp < 2; ++dp) {
              AxisPlaces places;
              places[Axis::kTp] = {.parts = 3, .index = tp};
              places[Axis::kDp] = {.parts = 2, .index = dp};
              const Box mine = local_box(spec, places);
              if (mine.empty()) continue;
              const std::vector<double> values = box(spec, mine, 11);
              for_each_run(spec.shape, mine, [&](BoxRun run) {
                for (std::int64_t i = 0; i < run.count; ++i)
                  joined[static_cast<std::size_t>(run.global + i)] = values[static_cast<std::size_t>(run.local + i)];
              });
            }
          EXPECT_EQ(joined, uncut) << spec.name << " cut in " << dim << " and " << other;
        }
    }
}

TEST_F(InitialWeights, AreNormalNumbersKeyedBySeedNameAndElement) {
  const std::vector<ParamSpec> list = parameters_of(config::Model::gpt2, true);
  for (const ParamSpec& spec : list) {
    const std::vector<double> values = all(spec, 11);
    const std::string& name = spec.tied_to.empty() ? spec.name : spec.tied_to;  // what is tied begins alike
    for (std::size_t e = 0; e < values.size(); ++e) {
      double want = spec.init.kind == Init::Kind::kOnes ? 1 : 0;
      if (spec.init.kind == Init::Kind::kNormal)
        want = static_cast<float>(static_cast<double>(spec.init.std) * oracle::normal(e, oracle::key_of(11, name)));
      // fp64 on both sides, then one rounding.
      ASSERT_NEAR(values[e], want, 0x1p-23 * std::abs(want)) << spec.name << "[" << e << "]";
    }
  }
}

TEST_F(InitialWeights, DifferWithSeedAndName) {
  const std::vector<ParamSpec> list = parameters_of(config::Model::llama, false);
  std::set<double> first;
  std::size_t drawn = 0;
  for (const std::uint64_t seed : {1, 2, 3})
    for (const ParamSpec& spec : list)
      if (spec.init.kind == Init::Kind::kNormal) {
        first.insert(all(spec, seed).front() / static_cast<double>(spec.init.std));
        ++drawn;
      }
  EXPECT_EQ(first.size(), drawn);
}

TEST(ParamList, DeclaresTheModelsParametersInForwardOrder) {
  std::vector<std::string> names;
  for (const ParamSpec& spec : parameters_of(config::Model::llama, false))
    if (spec.name.find("layers.1") == std::string::npos) names.push_back(spec.name);
  const std::vector<std::string> want = {"embedding.tokens.weight",
                                         "layers.0.attention_norm.weight",
                                         "layers.0.attention.q.weight",
                                         "layers.0.attention.kv.weight",
                                         "layers.0.attention.out.weight",
                                         "layers.0.mlp_norm.weight",
                                         "layers.0.mlp.gate_up.weight",
                                         "layers.0.mlp.down.weight",
                                         "final_norm.weight",
                                         "head.weight"};
  EXPECT_EQ(names, want);
}

TEST(ParamList, DecaysMatricesAndNeitherNormsNorBiases) {
  for (const auto family : {config::Model::gpt2, config::Model::llama}) {
    const std::vector<ParamSpec> list = parameters_of(family, false);
    for (const ParamSpec& spec : list) EXPECT_EQ(spec.decayed, spec.row_dims > 0) << spec.name;
  }
}

}  // namespace
}  // namespace trireme
