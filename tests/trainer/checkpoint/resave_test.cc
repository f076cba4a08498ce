#include "trainer/checkpoint/resave.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/host/host_device.h"
#include "monitoring/error.h"
#include "tests/trainer/checkpoint/scratch.h"
#include "trainer/model/hugging_face.h"
#include "trainer/model/transformer.h"

namespace trireme {
namespace {

using testing::HasSubstr;

config::Model tiny(config::Model::Family family) {
  config::Model model;
  model.set_family(family);
  model.set_layers(2);
  model.set_hidden_size(16);
  model.set_heads(4);
  model.set_kv_heads(family == config::Model::llama ? 2 : 4);
  model.set_head_dim(4);
  model.set_ffn_size(24);
  model.set_vocab_size(37);
  model.set_sequence_length(8);
  model.set_tied_embeddings(family == config::Model::gpt2);
  return model;
}

// The whole model's ParamSpecs that own their values.
std::vector<ParamSpec> specs_of(const config::Model& model) {
  ParamList list;
  make_stage(model, {}, whole_model(model), list);
  name_files(model, list.specs());
  std::vector<ParamSpec> owned;
  for (const ParamSpec& spec : list.specs())
    if (spec.tied_to.empty()) owned.push_back(spec);
  return owned;
}

TEST(Resave, AnyNumberOfRanksWritesTheSameBytes) {
  for (const auto family : {config::Model::gpt2, config::Model::llama})
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      const ScratchFolder folder;
      const config::Model model = tiny(family);
      ASSERT_EQ(save_model(folder.path(), {.specs = specs_of(model), .dtype = dtype}).error, "");
      const auto original = files_of(folder.path() / "step-00000100");
      for (const int ranks : {1, 2, 3}) {
        const auto out = folder.path() / ("out-" + std::to_string(ranks));
        expect_ranks(ranks, {}, [&](LocalRank& rank) {
          resave(rank.device(), host_kernels(), rank.comm(), model, folder.path() / "step-00000100", out);
        });
        EXPECT_TRUE(files_of(out) == original) << ranks << " ranks";
        EXPECT_FALSE(std::filesystem::exists(out.string() + ".resaving"));
      }
    }
}

TEST(Resave, RefusesAnOutputThatExistsAndADamagedInput) {
  const ScratchFolder folder;
  const config::Model model = tiny(config::Model::gpt2);
  ASSERT_EQ(save_model(folder.path(), {.specs = specs_of(model)}).error, "");
  const auto in = folder.path() / "step-00000100";
  expect_ranks(2, {}, [&](LocalRank& rank) {
    const auto to = [&](const std::filesystem::path& out) {
      resave(rank.device(), host_kernels(), rank.comm(), model, in, out);
    };
    EXPECT_THAT(message_of<UserError>([&] { to(in); }), HasSubstr("exists already"));
    rank.comm().gather_to_all("", {0, "refused"});
    if (rank.rank() == 0) flip_bit(in / "first_moment.safetensors", 4000);
    rank.comm().gather_to_all("", {0, "damaged"});
    EXPECT_THAT(message_of<DamagedDataError>([&] { to(folder.path() / "out"); }),
                HasSubstr("first_moment.safetensors"));
  });
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "out"));
}

}  // namespace
}  // namespace trireme
