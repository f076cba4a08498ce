#include "launch/config/hugging_face.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "launch/config/model_size.h"
#include "tests/launch/config/problems_of.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kGpt2 =
    R"({"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
  "bos_token_id": 50256, "embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
  "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
  "summary_activation": null, "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index",
  "summary_use_proj": true, "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}},
  "vocab_size": 50257})";
const std::string kLlama3 =
    R"({"architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
  "bos_token_id": 128000, "eos_token_id": 128001, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
  "intermediate_size": 14336, "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 32,
  "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null,
  "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.40.0.dev0",
  "use_cache": true, "vocab_size": 128256})";

std::string problems_in(const std::string& json) {
  Problems problems;
  translate_hugging_face_config(json, "config.json", problems);
  std::string text;
  for (const std::string& line : problems.lines()) text += line + "\n";
  return text;
}

std::string with(const std::string& base, const std::string& key_and_value) {
  return base.substr(0, base.rfind('}')) + ", " + key_and_value + "}";
}

TEST(HuggingFaceConfig, OfGpt2IsOurs) {
  Problems problems;
  const config::Model model = translate_hugging_face_config(kGpt2, "config.json", problems);
  EXPECT_TRUE(problems.empty()) << problems.lines()[0];
  EXPECT_EQ(model.family(), config::Model::gpt2);
  EXPECT_EQ(model.ffn_size(), 3072);
  EXPECT_TRUE(model.tied_embeddings());
  EXPECT_EQ(model.dropout(), 0.1);
  EXPECT_EQ(count_parameters(model).total, 124'439'808);
}

TEST(HuggingFaceConfig, OfLlama3IsOurs) {
  Problems problems;
  const config::Model model = translate_hugging_face_config(kLlama3, "config.json", problems);
  EXPECT_TRUE(problems.empty()) << problems.lines()[0];
  EXPECT_EQ(model.family(), config::Model::llama);
  EXPECT_EQ(model.kv_heads(), 8);
  EXPECT_EQ(model.head_dim(), 128);
  EXPECT_EQ(model.rope_theta(), 500000);
  EXPECT_FALSE(model.tied_embeddings());
  EXPECT_EQ(count_parameters(model).total, 8'030'261'248);
}

TEST(HuggingFaceConfig, LacksNothingThatTransformersDefaults) {
  Problems problems;
  EXPECT_EQ(count_parameters(translate_hugging_face_config(R"({"model_type": "gpt2"})", "c", problems)).total,
            124'439'808);
  EXPECT_EQ(count_parameters(translate_hugging_face_config(R"({"model_type": "llama"})", "c", problems)).total,
            6'738'415'616);
  EXPECT_TRUE(problems.empty());
}

TEST(HuggingFaceConfig, RefusesByNameWhatIsNotImplemented) {
  EXPECT_THAT(problems_in(with(kLlama3, R"("rope_scaling_": 1)")), HasSubstr("rope_scaling_ = 1: not known here"));
  const std::string scaled = R"({"model_type": "llama", "rope_scaling": {"factor": 8.0, "rope_type": "llama3"}})";
  EXPECT_EQ(
      problems_in(scaled),
      "config.json: model.from: rope_scaling = {...}: the kind \"llama3\" is not implemented; only \"default\" is\n");
  EXPECT_THAT(problems_in(R"({"model_type": "llama", "rope_scaling": {"factor": 2.0, "type": "linear"}})"),
              HasSubstr("\"linear\""));
  EXPECT_THAT(problems_in(R"({"model_type": "llama", "hidden_act": "gelu"})"),
              HasSubstr("hidden_act = \"gelu\": not implemented"));
  EXPECT_THAT(problems_in(R"({"model_type": "llama", "attention_bias": true})"), HasSubstr("attention_bias = true"));
  EXPECT_THAT(problems_in(R"({"model_type": "llama", "mlp_bias": true})"), HasSubstr("mlp_bias = true"));
  EXPECT_THAT(problems_in(R"({"model_type": "llama", "sliding_window": 4096})"), HasSubstr("sliding_window = 4096"));
  EXPECT_THAT(problems_in(R"({"model_type": "llama", "quantization_config": {"bits": 4}})"),
              HasSubstr("quantization_config"));
  EXPECT_THAT(problems_in(R"({"model_type": "gpt2", "activation_function": "relu"})"),
              HasSubstr("activation_function = \"relu\""));
  EXPECT_THAT(problems_in(R"({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": true})"),
              HasSubstr("scale_attn_by_inverse_layer_idx = true"));
  EXPECT_THAT(problems_in(R"({"model_type": "gpt2", "reorder_and_upcast_attn": true})"),
              HasSubstr("reorder_and_upcast_attn = true"));
  EXPECT_THAT(problems_in(R"({"model_type": "gpt2", "scale_attn_weights": false})"),
              HasSubstr("scale_attn_weights = false"));
  EXPECT_THAT(problems_in(R"({"model_type": "gpt2", "embd_pdrop": 0.2})"), HasSubstr("embd_pdrop = 0.2"));
  EXPECT_THAT(problems_in(R"({"model_type": "mamba"})"),
              HasSubstr("model_type = \"mamba\": not implemented; there are gpt2 and llama"));
  EXPECT_THAT(problems_in("{}"), HasSubstr("model_type = (default): not implemented"));
}

TEST(HuggingFaceConfig, AcceptsBothPlacesOfRopeTheta) {
  Problems problems;
  const std::string newer =
      R"({"model_type": "llama", "rope_parameters": {"rope_theta": 7000.0, "rope_type": "default"}})";
  EXPECT_EQ(translate_hugging_face_config(newer, "c", problems).rope_theta(), 7000);
  EXPECT_TRUE(problems.empty());
}

TEST(HuggingFaceConfig, NamesWrongTypesAndAllOfThem) {
  EXPECT_THAT(
      problems_in(R"({"model_type": "gpt2", "n_embd": "wide", "n_layer": -1, "n_head": 1.5, "layer_norm_epsilon": true,
                              "tie_word_embeddings": "no", "vocab_size": 99999999999})"),
      AllOf(HasSubstr("n_embd = \"wide\": a positive whole number"), HasSubstr("n_layer = -1"),
            HasSubstr("n_head = 1.5"), HasSubstr("layer_norm_epsilon = true: a number"),
            HasSubstr("tie_word_embeddings"), HasSubstr("vocab_size = 99999999999")));
}

TEST(HuggingFaceConfig, AnswersNoiseInOneLine) {
  for (const std::string noise : {"", "[]", "3", "{", "\xff\xfe", "{\"a\": 1, \"a\": 2}", "null"}) {
    EXPECT_THAT(problems_in(noise), HasSubstr("config.json: model.from: ")) << noise;
  }
  EXPECT_THAT(problems_in(R"({"model_type": "gpt2", "model_type": "llama"})"), HasSubstr("stands there twice"));
  EXPECT_THAT(problems_in(std::string(100000, '[')), HasSubstr("deep"));
  std::string nested;
  for (int i = 0; i < 100000; ++i) nested += "{\"a\":";
  EXPECT_THAT(problems_in(nested), HasSubstr("deep"));
}

class ModelFrom : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const { write_bytes(folder_ / name, text); }
  // A configuration whose model section begins with `from`; `more` is further lines of that section.
  std::string yaml(const std::string& more = "") const {
    return kSound + "model:\n  from: " + folder_.path().string() + "\n" + more;
  }
  const ScratchFolder folder_;
};

TEST_F(ModelFrom, StandsForTheModelAndPrintsToTheSame) {
  write("config.json", kLlama3);
  const LoadedRun loaded = load_run_text(yaml(), "run.yaml", {}, 1);
  EXPECT_EQ(count_parameters(loaded.run.model()).total, 8'030'261'248);
  EXPECT_EQ(problems_of(print_run(loaded.run)), "");
}

TEST_F(ModelFrom, RefusesFieldsThatDisagree) {
  write("config.json", kLlama3);
  EXPECT_EQ(
      problems_of(yaml("  layers: 32\n  heads: 16\n")),
      "run.yaml:5:10: model.heads: 16 disagrees with model.from, whose config.json says 32; leave this field out");
  EXPECT_THAT(problems_of(yaml("  family: gpt2\n")),
              HasSubstr("gpt2 disagrees with model.from, whose config.json says llama"));
}

TEST_F(ModelFrom, LetsTrainingChooseWhatTheWeightsDoNotFix) {
  write("config.json", kLlama3);
  const std::string chosen = "  sequence_length: 2048\n  attention_dropout: 0.2\n  init_std: 0.01\n";
  EXPECT_EQ(load_run_text(yaml(chosen), "run.yaml", {}, 1).run.model().sequence_length(), 2048);
  EXPECT_THAT(problems_of(yaml("  sequence_length: 16384\n")), HasSubstr("16384 disagrees"));
  write("config.json", kGpt2);
  EXPECT_THAT(problems_of(yaml("  sequence_length: 512\n")), HasSubstr("512 disagrees"));
}

TEST_F(ModelFrom, SaysWhetherThereAreWeights) {
  write("config.json", kGpt2);
  const config::Run run = load_run_text(yaml(), "run.yaml", {}, 1).run;
  EXPECT_THAT(describe_cost(run), HasSubstr("holds no weights"));
  write("pytorch_model.bin", "");
  EXPECT_THAT(describe_cost(run), HasSubstr("not as safetensors"));
  write("model.safetensors.index.json", "{}");
  EXPECT_THAT(describe_cost(run), HasSubstr("training continues from them"));
}

TEST_F(ModelFrom, NamesAMissingOrOversizedFile) {
  EXPECT_THAT(problems_of(yaml()), AllOf(HasSubstr("config.json"), HasSubstr("No such file")));
  write("config.json", std::string(kMaxHuggingFaceConfigBytes + 1, ' '));
  EXPECT_THAT(problems_of(yaml()), HasSubstr("larger than"));
}

TEST_F(ModelFrom, ReportsImpossibleSizesOnceAndInOurWords) {
  write("config.json", R"({"model_type": "gpt2", "n_embd": 64, "n_head": 3})");
  EXPECT_THAT(problems_of(yaml()), HasSubstr("3 heads do not divide hidden_size 64"));
  write("config.json", R"({"model_type": "gpt2", "n_layer": 100000})");
  EXPECT_THAT(problems_of(yaml()), HasSubstr("from config.json: 100000 is too large"));
}

}  // namespace
}  // namespace trireme
