#include "launch/config/resolve.h"

#include <filesystem>
#include <regex>
#include <string>

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "dataloader/shard/manifest.h"
#include "launch/config/fields.h"
#include "launch/config/model_size.h"
#include "tests/launch/config/problems_of.h"
#include "tests/paths.h"
#include "tests/scratch.h"
#include "trainer/model/transformer.h"

namespace trireme {
namespace {

using testing::HasSubstr;

config::Run resolved(const std::string& yaml, std::optional<int> ranks = std::nullopt) {
  return load_run_text(yaml, "run.yaml", {}, ranks).run;
}

TEST(Resolve, FillsTheModelByItsFamily) {
  const config::Model gpt2 = resolved(kSound).model();
  EXPECT_EQ(gpt2.kv_heads(), 12);
  EXPECT_EQ(gpt2.head_dim(), 64);
  EXPECT_EQ(gpt2.ffn_size(), 3072);
  EXPECT_TRUE(gpt2.tied_embeddings());
  const config::Model llama = resolved(kSound + "model: {family: llama, hidden_size: 4096, heads: 32}\n").model();
  EXPECT_EQ(llama.ffn_size(), 11008);  // Llama 2 7B
  EXPECT_EQ(llama.head_dim(), 128);
  EXPECT_FALSE(llama.tied_embeddings());
}

TEST(Resolve, LeavesToDpWhatIsLeftOfTheRanks) {
  EXPECT_EQ(resolved(kSound, 4).mesh().dp(), 4);
  EXPECT_EQ(resolved(kSound + "mesh: {tp: 2}\n", 4).mesh().dp(), 2);
  EXPECT_FALSE(resolved(kSound).mesh().has_dp());
}

TEST(Resolve, WritesEveryDefaultOfTheSchemaOut) {
  const config::Run run = resolved(kSound);
  for (const Field& field : all_fields()) {
    if (field.descriptor->has_default_value()) {
      EXPECT_TRUE(has_value(run, field)) << field.path;
    }
  }
}

TEST(PrintRun, LoadsToTheSame) {
  for (const std::string& yaml : std::vector<std::string>{
           kSound, kSound + "mesh: {dp: 2, tp: 4}\nrecompute: full\nmodel: {vocab_size: 100}\n",
           kSound + "mesh: {pp: 3}\nrecompute: [full, none, selective]\n",
           std::string("train: {tokens: 300e9}\nrun: {dir: 'a \"b\" \\ #: c', seed: 18446744073709551615}\n"
                       "data: {path: ~/x}\noptimizer: {learning_rate: 0.1, epsilon: 1e-300, weight_decay: "
                       "0.30000000000000004}\n"),
           kSound + "run: {dir: -x}\n", kSound + "run: {dir: 'null'}\n", kSound + "run: {dir: \"\\t\\u00e9\"}\n",
           kSound + "run: {dir: '12'}\n", kSound + "run: {dir: ./-}\n"}) {
    const config::Run once = resolved(yaml);
    const std::string printed = print_run(once);
    const config::Run twice = resolved(printed);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(once, twice)) << printed;
    EXPECT_EQ(print_run(twice), printed);
  }
}

class ResolveVocabulary : public testing::Test {
 protected:
  void SetUp() override {
    DatasetManifest manifest;
    manifest.tokenizer_file = "tokenizer.json";
    manifest.tokenizer_sha256 = std::string(64, '0');
    manifest.vocab_size = 4001;
    manifest.end_of_document = 0;
    ShardEntry shard{"train-00000.bin", 10, 1, 100, std::string(32, '0')};
    manifest.splits = {{"train", 10, 1, 20, {shard}}};
    write_manifest(folder_.path(), manifest);
  }
  std::string data() const { return "data: {path: " + folder_.path().string() + "}\n"; }
  const ScratchFolder folder_;
};

TEST_F(ResolveVocabulary, IsTheDataSetsRoundedUp) {
  EXPECT_EQ(resolved(kSound + data()).model().vocab_size(), 4032);
  EXPECT_EQ(resolved(kSound + data() + "model: {vocab_size: 4001}\n").model().vocab_size(), 4001);
  EXPECT_THAT(problems_of(kSound + data() + "model: {vocab_size: 4000}\n"),
              HasSubstr("4000 is too small for the data set"));
}

TEST(Resolve, LeavesTheVocabularyOpenUntilTheDataIsThere) {
  const LoadedRun loaded = load_run_text(kSound + "data: {path: no/such/folder}\n", "run.yaml", {}, 1);
  EXPECT_FALSE(loaded.run.model().has_vocab_size());
  EXPECT_THAT(describe_cost(loaded.run), HasSubstr("known when model.vocab_size is"));
  EXPECT_THROW(check_runnable_here(loaded), UserError);
}

struct Recipe {
  const char* file;
  std::int64_t parameters;  // as their authors state
  double device_gib;
};
class ClusterRecipes : public testing::TestWithParam<Recipe> {};

TEST_P(ClusterRecipes, AreSoundAndCountTheirParametersAndFitTheirDevices) {
  const std::string file = std::string(TRIREME_SOURCE_DIR) + "/launch/recipes/" + GetParam().file;
  const config::Run run = load_run(file, {}, std::nullopt).run;
  EXPECT_EQ(count_parameters(run.model()).total, GetParam().parameters);
  EXPECT_LT(memory_per_rank(run, run.mesh().dp()).total(), 0.8 * GetParam().device_gib * 1024 * 1024 * 1024);
  EXPECT_THAT(describe_cost(run), HasSubstr("# parameters: "));
}
INSTANTIATE_TEST_SUITE_P(All, ClusterRecipes,
                         testing::Values(Recipe{"gpt2-124m.yaml", 124'439'808, 40},
                                         Recipe{"llama-1b.yaml", 1'235'814'400, 80},
                                         Recipe{"llama-8b.yaml", 8'030'261'248, 80},
                                         Recipe{"llama-70b.yaml", 70'553'706'496, 80}),
                         [](const auto& recipe) {
                           std::string name = recipe.param.file;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST(Recipes, QuickstartIsSoundForTwoRanksAndRunnable) {
  const LoadedRun loaded =
      load_run(std::string(TRIREME_SOURCE_DIR) + "/launch/recipes/quickstart.yaml", {"model.vocab_size=4096"}, 2);
  EXPECT_EQ(loaded.run.mesh().dp(), 2);
  EXPECT_NO_THROW(check_runnable_here(loaded));
}

// What a newcomer copies: `mpirun -n N ... train FILE` and `check FILE --ranks N`.
TEST(Recipes, RunOnAsManyRanksAsTheReadmeStarts) {
  const std::string readme = read_bytes(TRIREME_SOURCE_DIR "/README.md");
  const auto commands = [&](const char* pattern, int file, int ranks) {
    const std::regex command(pattern);
    int found = 0;
    for (std::sregex_iterator at(readme.begin(), readme.end(), command), end; at != end; ++at, ++found)
      EXPECT_NO_THROW(load_run(std::string(TRIREME_SOURCE_DIR) + "/" + (*at)[file].str(), {"model.vocab_size=32000"},
                               std::stoi((*at)[ranks])))
          << at->str();
    return found;
  };
  EXPECT_EQ(commands(R"(mpirun (?:.|\\\n)*?-n (\d+)(?:.|\\\n)*? train (launch/recipes/\S+))", 2, 1), 2);
  EXPECT_EQ(commands(R"(check (launch/recipes/\S+) --ranks (\d+))", 1, 2), 1);
}

TEST(Recipes, ThereIsATestForEach) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(TRIREME_SOURCE_DIR) + "/launch/recipes")) {
    files += entry.path().extension() == ".yaml";
  }
  EXPECT_EQ(files, 5);
}

// GPT-2 with 2 layers of 4, by hand: every weight matrix is used once a token and costs 6 FLOPs; embeddings cost
// nothing.
TEST(ModelSize, CountsFlopsOfMatricesAndCausalAttention) {
  const config::Model model =
      resolved(kSound + "model: {layers: 2, hidden_size: 4, heads: 2, vocab_size: 10, sequence_length: 8}\n").model();
  const double matrices = 2 * (4 * 12 + 4 * 4 + 2 * 4 * 16) + 4 * 10;
  const double attention =
      2 * 3 * (4.0 * 4 * 8 / 2);  // layers x (forward, twice backward) x 4 x hidden x half the sequence
  EXPECT_DOUBLE_EQ(flops_per_token(model), 6 * matrices + attention);
}

TEST(ModelSize, ZeroDividesOptimizerThenGradientsThenParameters) {
  config::Run run = resolved(kSound + "model: {vocab_size: 512}\nmesh: {dp: 4}\n");
  const MemoryPerRank whole = memory_per_rank(run, 4);
  EXPECT_DOUBLE_EQ(whole.parameters, 4.0 * count_parameters(run.model()).total);
  EXPECT_DOUBLE_EQ(whole.optimizer, 2 * whole.parameters);
  run.mutable_zero()->set_stage(1);
  EXPECT_DOUBLE_EQ(memory_per_rank(run, 4).optimizer, whole.optimizer / 4);
  EXPECT_DOUBLE_EQ(memory_per_rank(run, 4).gradients, whole.gradients);
  run.mutable_zero()->set_stage(3);
  EXPECT_DOUBLE_EQ(memory_per_rank(run, 4).parameters, whole.parameters / 4);
  EXPECT_DOUBLE_EQ(memory_per_rank(run, 4).gradients, whole.gradients / 4);
}

TEST(ModelSize, SixteenBitsHalveParametersAndAddMasters) {
  const config::Run wide = resolved(kSound + "model: {vocab_size: 512}\n");
  for (const config::Precision precision : {config::bf16, config::fp16}) {
    config::Run narrow = wide;
    narrow.mutable_train()->set_precision(precision);
    EXPECT_DOUBLE_EQ(memory_per_rank(narrow, 1).parameters, memory_per_rank(wide, 1).parameters / 2);
    EXPECT_DOUBLE_EQ(memory_per_rank(narrow, 1).optimizer, memory_per_rank(wide, 1).optimizer * 3 / 2);
    EXPECT_DOUBLE_EQ(memory_per_rank(narrow, 1).gradients, memory_per_rank(wide, 1).gradients);
  }
}

TEST(ModelSize, RecomputationKeepsLess) {
  config::Run run = resolved(kSound + "model: {vocab_size: 512}\n");
  const double none = memory_per_rank(run, 1).activations;
  run.set_recompute(0, config::selective);
  const double selective = memory_per_rank(run, 1).activations;
  run.set_recompute(0, config::full);
  const double full = memory_per_rank(run, 1).activations;
  EXPECT_LT(full, selective);
  EXPECT_LT(selective, none);
}

// 1F1B's first rank holds four micro-batches, the last one: whoever keeps most of them is the fullest.
TEST(ModelSize, ActivationsAreThoseOfTheFullestStage) {
  const auto activations = [](const std::string& recompute) {
    const config::Run run =
        resolved("train: {steps: 1, global_batch: 8}\nmodel: {vocab_size: 512}\nmesh: {pp: 4}\n" + recompute);
    return memory_per_rank(run, 1).activations;
  };
  const double none = activations(""), full = activations("recompute: full\n");
  EXPECT_DOUBLE_EQ(activations("recompute: [full, none, none, none]\n"), std::max(full, none * 3 / 4));
  EXPECT_DOUBLE_EQ(activations("recompute: [full, full, full, none]\n"), std::max(full, none / 4));
  EXPECT_DOUBLE_EQ(activations("recompute: [none, full, full, full]\n"), none);
}

}  // namespace
}  // namespace trireme
