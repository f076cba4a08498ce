#include "launch/config/read.h"

#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "launch/config/fields.h"
#include "launch/config/yaml_tree.h"
#include "tests/launch/config/problems_of.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(ReadRun, NamesPlaceReasonAndNearestNameOfAnUnknownField) {
  EXPECT_EQ(problems_of("train:\n  steps: 10\nmodel:\n  hiden_size: 64\n"),
            "run.yaml:4:3: model.hiden_size: no such field; did you mean hidden_size?");
}

TEST(ReadRun, PointsAtTheSectionThatHasTheField) {
  EXPECT_EQ(problems_of(kSound + "model: {learning_rate: 1}\n"),
            "run.yaml:2:9: model.learning_rate: no such field; did you mean optimizer.learning_rate?");
  EXPECT_THAT(problems_of(kSound + "trian: {}\n"),
              HasSubstr("run.yaml:2:1: trian: no such section or field; did you mean train?"));
}

TEST(ReadRun, ListsWhatThereIsWhenNothingIsNear) {
  EXPECT_THAT(problems_of(kSound + "zero: {bananas: 3}\n"), HasSubstr("zero.bananas: no such field; there are stage"));
}

TEST(ReadRun, ReportsAllProblemsAtOnceInTheFilesOrder) {
  const std::string said = problems_of(
      "model:\n"
      "  hidden_size: 64\n"
      "  heads: 3\n"
      "  layers: three\n"
      "  heads: 4\n"
      "  dropout: 1\n"
      "train:\n"
      "  steps: 2.5\n"
      "  precision: fp8\n"
      "  micro_batch: \"4\"\n"
      "mesh: 4\n"
      "numerics: [fast]\n"
      "device:\n",
      {"--set.typo=1", "optimizer.lr", "model.vocab_size=many"});
  EXPECT_EQ(said,
            "the configuration has 13 problems:\n"
            "  run.yaml:3:10: model.heads: 3 heads do not divide hidden_size 64; the nearest that do are 2 and 4\n"
            "  run.yaml:4:11: model.layers: a whole number is expected, not \"three\"\n"
            "  run.yaml:5:3: \"heads\" stands here a second time; it was first in line 3. Keep one of them\n"
            "  run.yaml:6:12: model.dropout: 1 is too large; it must be less than 1\n"
            "  run.yaml:8:10: train.steps: a whole number is expected, not 2.5; the nearest are 2 and 3\n"
            "  run.yaml:9:14: train.precision: \"fp8\" is not one of fp32, bf16, fp16; did you mean fp32?\n"
            "  run.yaml:10:16: train.micro_batch: \"4\" is text because of its quotes; leave them out\n"
            "  run.yaml:11:7: mesh: this is a section; write its fields below it, indented: dp, pp, cp, tp, ep, order\n"
            "  run.yaml:12:11: numerics: one value is expected, not a list\n"
            "  run.yaml:13:1: device: there is no value; write one, or leave the field out for its default\n"
            "  --set --set.typo=1: no such field; `trireme config FILE` prints all there are\n"
            "  --set optimizer.lr: SECTION.FIELD=VALUE is expected, for example model.hidden_size=512\n"
            "  --set model.vocab_size=many: model.vocab_size: a whole number is expected, not \"many\"");
}

TEST(ReadRun, WritesNamedValuesAsPeopleDo) {
  const LoadedRun loaded = load_run_text(
      "train: {steps: 1, precision: bf16, global_batch: 4}\n"
      "pipeline: {schedule: interleaved-1f1b}\n"
      "recompute: selective\nnumerics: exact\ndevice: host\noptimizer: {decay: wsd}\ndata: {attention: sample}\n",
      "run.yaml", {"pipeline.schedule=1f1b"}, 1);
  EXPECT_EQ(loaded.run.train().precision(), config::bf16);
  EXPECT_EQ(loaded.run.pipeline().schedule(), config::Pipeline::one_f_one_b);
  EXPECT_THAT(loaded.run.recompute(), testing::ElementsAre(config::selective));
  EXPECT_EQ(loaded.run.numerics(), config::exact);
  EXPECT_EQ(loaded.run.device(), config::host);
  EXPECT_EQ(loaded.run.optimizer().decay(), config::Optimizer::wsd);
  EXPECT_EQ(loaded.run.data().attention(), config::Data::sample);
}

TEST(ReadRun, TakesOneRecomputationForAllStagesOrAListOfThem) {
  const auto read = [](const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    return load_run_text(kSound + "mesh: {pp: 2}\n" + yaml, "run.yaml", overrides, 2).run.recompute();
  };
  EXPECT_THAT(read(""), testing::ElementsAre(config::none));
  EXPECT_THAT(read("recompute: full\n"), testing::ElementsAre(config::full));
  EXPECT_THAT(read("recompute: [full]\n"), testing::ElementsAre(config::full));
  EXPECT_THAT(read("recompute: [full, none]\n"), testing::ElementsAre(config::full, config::none));
  EXPECT_THAT(read("recompute:\n- selective\n- none\n"), testing::ElementsAre(config::selective, config::none));
  EXPECT_THAT(read("recompute: full\n", {"recompute=[ none,selective ]"}),
              testing::ElementsAre(config::none, config::selective));
  EXPECT_THAT(read("recompute: [full, none]\n", {"recompute=selective"}), testing::ElementsAre(config::selective));
}

TEST(ReadRun, LocatesEachMistakeInAList) {
  EXPECT_EQ(problems_of(kSound + "recompute: [full, nun, [none], 3]\n"),
            "the configuration has 3 problems:\n"
            "  run.yaml:2:19: recompute: \"nun\" is not one of none, selective, full; did you mean none?\n"
            "  run.yaml:2:24: recompute: one value is expected, not a list\n"
            "  run.yaml:2:32: recompute: \"3\" is not one of none, selective, full");
  EXPECT_EQ(problems_of(kSound + "recompute: []\n"),
            "run.yaml:2:12: recompute: there is no value in the list; write one, or more");
  EXPECT_EQ(problems_of(kSound, {"recompute=[full,,none]"}),
            "--set recompute=[full,,none]: recompute: \"\" is not one of none, selective, full");
  EXPECT_EQ(problems_of(kSound + "recompute: {stage: full}\n"),
            "run.yaml:2:12: recompute: one value is expected, not a section");
}

TEST(ReadRun, TakesWholeNumbersInScientificNotationOnlyWhenTheyAreWhole) {
  EXPECT_EQ(load_run_text("train: {tokens: 300e9}\n", "f", {}, 1).run.train().tokens(), 300'000'000'000);
  EXPECT_EQ(load_run_text("train: {steps: +7}\nrun: {seed: 18446744073709551615}\n", "f", {}, 1).run.run().seed(),
            18446744073709551615u);
  EXPECT_THAT(problems_of("train: {steps: 1.5e0}\n"), HasSubstr("the nearest are 1 and 2"));
  EXPECT_THAT(problems_of("train: {steps: 1e99}\n"), HasSubstr("out of range"));
  for (const char* wrong : {"0x10", "1_000", "12 steps", "nan", "inf", "-", "+", "++1", "1e", "True"}) {
    EXPECT_THAT(problems_of(std::string("train: {steps: ") + wrong + "}\n"), HasSubstr("a whole number is expected"))
        << wrong;
  }
  for (const char* wrong : {"nan", ".inf", "-inf", "1e999", "ten", "0x1p3"}) {
    EXPECT_THAT(problems_of(kSound + "optimizer: {learning_rate: " + wrong + "}\n"), HasSubstr("a number is expected"))
        << wrong;
  }
}

TEST(ReadRun, RefusesNegativesWhereCountsAreMeant) {
  EXPECT_THAT(problems_of("train: {steps: -1}\n"), HasSubstr("-1 is too small; it must be at least 1"));
  EXPECT_THAT(problems_of(kSound + "run: {seed: -1}\n"), HasSubstr("run.seed"));
}

TEST(ReadRun, LastOverrideWins) {
  EXPECT_EQ(load_run_text(kSound, "f", {"model.hidden_size=384", "model.hidden_size=192"}, 1).run.model().hidden_size(),
            192);
}

TEST(ReadRun, LocatesAProblemThatAnOverrideMadeAtTheOverride) {
  EXPECT_EQ(problems_of(kSound + "model:\n  heads: 4\n  hidden_size: 64\n", {"model.heads=3"}),
            "--set model.heads=3: model.heads: 3 heads do not divide hidden_size 64; the nearest that do are 2 and 4");
}

TEST(ReadRun, SuggestsForOverridesToo) {
  EXPECT_THAT(problems_of(kSound, {"model.hiden_size=3"}), HasSubstr("did you mean model.hidden_size?"));
  EXPECT_THAT(problems_of(kSound, {"hidden_size=3"}), HasSubstr("did you mean model.hidden_size?"));
  EXPECT_THAT(problems_of(kSound, {"train.learning_rate=3"}), HasSubstr("did you mean optimizer.learning_rate?"));
  EXPECT_THAT(problems_of(kSound, {"model=3"}), HasSubstr("model is a section"));
}

TEST(ParseYaml, RefusesWhatIsNotText) {
  EXPECT_EQ(problems_of(std::string("run:\n  a\0b", 10)),
            "run.yaml:2:4: byte 0x00 is not text in UTF-8; is this a configuration in YAML?");
  for (const std::string noise : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x7f"}) {
    EXPECT_THAT(problems_of(noise), HasSubstr("is not text in UTF-8"));
  }
}

TEST(ParseYaml, RefusesWhatIsNotAMapping) {
  for (const std::string noise : {"hello", "- 1\n- 2\n", "3", "[]", "'x'"}) {
    EXPECT_THAT(problems_of(noise), AllOf(HasSubstr("run.yaml:1:1"), HasSubstr("this is not a configuration")))
        << noise;
  }
}

TEST(ParseYaml, SaysWhereTextStopsBeingYaml) {
  EXPECT_THAT(problems_of("model:\n  heads: [1\n"), AllOf(HasSubstr("run.yaml:"), HasSubstr("not YAML")));
  EXPECT_THAT(problems_of("model:\n\theads: 1\n"), AllOf(HasSubstr("run.yaml:2:"), HasSubstr("not YAML")));
}

TEST(ParseYaml, RefusesAliasesSoThatNothingUnfolds) {
  std::string laughs = "a: &a [x, x]\n";
  for (char c = 'b'; c < 'z'; ++c) {
    const std::string before(1, static_cast<char>(c - 1));
    laughs += std::string(1, c) + ": &" + c + " [*" + before + ", *" + before + "]\n";
  }
  EXPECT_THAT(problems_of(laughs), HasSubstr("run.yaml:1:4: anchors and aliases are not read here"));
  EXPECT_THAT(problems_of("model: !!map {}\n"), HasSubstr("tag"));
}

TEST(ParseYaml, RefusesDepthSizeAndSecondDocuments) {
  EXPECT_THAT(problems_of(std::string(100000, '[')), HasSubstr("deep"));
  EXPECT_THAT(problems_of(std::string(100000, '{')), Not(""));
  std::string dashes;
  for (int i = 0; i < 50000; ++i) dashes += "- ";
  EXPECT_THAT(problems_of(dashes), HasSubstr("deep"));
  EXPECT_THAT(problems_of(std::string(kMaxConfigurationBytes + 1, ' ')), HasSubstr("a configuration has at most"));
  EXPECT_THAT(problems_of("train: {steps: 1}\n---\nmodel: {}\n"), HasSubstr("run.yaml:2:1: a second document"));
}

TEST(ParseYaml, TakesAnEmptyFileAndEmptySectionsAsDefaults) {
  EXPECT_EQ(problems_of("", {"train.steps=1"}), "");
  EXPECT_EQ(problems_of("# nothing\n", {"train.steps=1"}), "");
  EXPECT_EQ(problems_of("\xef\xbb\xbfmodel:\ntrain: {steps: 1}\n"), "");
}

RC_GTEST_PROP(ParseYaml, AnswersAnyTextWithAConfigurationOrItsProblems, ()) {
  const auto parts = *rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>(
      "model", ":", " ", "\n", "  ", "heads", "12", "[", "]", "{", "}", ",", "- ", "? ", "\"", "'", "#", "|\n", ">",
      "&a", "*a", "!!int", "---\n", "...\n", "%", "@", "\t", "train", "steps", "1f1b", "~", "<<", "\xc3\xa9"));
  std::string text;
  for (const std::string& part : parts) text += part;
  problems_of(text);  // throws nothing but UserError
}

TEST(Ranges, EveryNumberOfTheSchemaHasOne) {
  for (const Field& field : all_fields()) {
    switch (field.descriptor->cpp_type()) {
      case google::protobuf::FieldDescriptor::CPPTYPE_BOOL:
      case google::protobuf::FieldDescriptor::CPPTYPE_ENUM:
      case google::protobuf::FieldDescriptor::CPPTYPE_STRING:
        EXPECT_EQ(range_of(field.path), nullptr) << field.path;
        break;
      default:
        EXPECT_NE(range_of(field.path), nullptr) << field.path << ": add it to launch/config/ranges.cc";
    }
  }
}

TEST(Ranges, HoldEveryDefault) {
  config::Run run;
  for (const Field& field : all_fields()) {
    if (field.descriptor->has_default_value()) {
      EXPECT_EQ(out_of_range(run, field), "") << field.path;
    }
  }
}

TEST(NearestName, IgnoresCaseAndForgivesTypos) {
  const std::vector<std::string> names = {"hidden_size", "heads", "kv_heads", "layers", "ep"};
  EXPECT_EQ(nearest_name("hiddensize", names), "hidden_size");
  EXPECT_EQ(nearest_name("Hidden-Size", names), "hidden_size");
  EXPECT_EQ(nearest_name("haeds", names), "heads");
  EXPECT_EQ(nearest_name("layer", names), "layers");
  EXPECT_EQ(nearest_name("lay", names), "layers");
  EXPECT_EQ(nearest_name("xy", names), "");
  EXPECT_EQ(nearest_name("banana", names), "");
  EXPECT_EQ(nearest_name(std::string(100000, 'h'), names), "");
}

}  // namespace
}  // namespace trireme
