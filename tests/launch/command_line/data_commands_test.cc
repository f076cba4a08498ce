#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/launch/command_line/ended.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// A folder with a corpus of 200 documents in it.
class DataCommands : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream jsonl(folder_ / "corpus.jsonl");
    for (int i = 0; i < 200; ++i) {
      text_ += document(i);
      jsonl << "{\"id\": " << i << ", \"text\": \"" << document(i) << "\"}\n";
    }
  }
  static std::string document(int i) { return "the rain in spain, line " + std::to_string(i * 7919) + ", caf\u00e9."; }
  std::string in(const std::string& name) const { return (folder_ / name).string(); }
  Ended prepare(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"prepare", in("corpus.jsonl"), "--out", in("data"), "--vocab-size", "300"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  const ScratchFolder folder_;
  std::string text_;  // of all documents
};

TEST_F(DataCommands, PrepareThenInspectGivesTheTextBack) {
  const Ended prepared = prepare({"--validation", "0.1", "--threads", "2"});
  ASSERT_EQ(prepared.exit_code, 0) << prepared.errors;
  EXPECT_THAT(prepared.output, AllOf(HasSubstr("300 different tokens"), HasSubstr("train"), HasSubstr("validation")));
  EXPECT_THAT(prepare({"--validation", "0.1"}).output, HasSubstr("held this already"));

  const Ended shown = run({"inspect", in("data"), "--verify"});
  ASSERT_EQ(shown.exit_code, 0) << shown.errors;
  EXPECT_THAT(shown.output, AllOf(HasSubstr("tokenizer.json, sha256 "), HasSubstr("train"), HasSubstr("validation"),
                                  HasSubstr("Every block agrees")));
  EXPECT_EQ(run({"inspect", in("data/manifest.textproto")}).exit_code, 0);
  EXPECT_THAT(run({"inspect", in("data/train-00000.shard"), "--verify"}).output, HasSubstr("a shard of"));

  // Each document is in one split, in its order.
  const std::string train = run({"inspect", in("data"), "--text", "train"}).output;
  const std::string validation = run({"inspect", in("data"), "--text", "validation"}).output;
  EXPECT_EQ(train.size() + validation.size(), text_.size());
  std::size_t in_train = 0, in_validation = 0;
  for (int i = 0; i < 200; ++i) {
    const std::string text = document(i);
    if (train.compare(in_train, text.size(), text) == 0) {
      in_train += text.size();
    } else {
      ASSERT_EQ(validation.compare(in_validation, text.size(), text), 0) << i;
      in_validation += text.size();
    }
  }
  EXPECT_GT(in_validation, 0u);
}

TEST_F(DataCommands, PrepareTakesPlainTextAndATokenizer) {
  ASSERT_EQ(prepare({}).exit_code, 0);
  write_bytes(in("plain.txt"), "one\n--\ntwo\n--\nthree");
  const Ended ended = run({"prepare", in("plain.txt"), "--separator", "\\n--\\n", "--out", in("plain"), "--tokenizer",
                           in("data/tokenizer.json")});
  ASSERT_EQ(ended.exit_code, 0) << ended.errors;
  EXPECT_THAT(ended.output, HasSubstr("There is no validation split"));
  EXPECT_EQ(run({"inspect", in("plain"), "--text", "train"}).output, "onetwothree");
  EXPECT_EQ(read_bytes(in("plain/tokenizer.json")), read_bytes(in("data/tokenizer.json")));
}

TEST_F(DataCommands, PrepareRefusesWhatCannotBe) {
  EXPECT_EQ(run({"prepare", in("corpus.jsonl"), "--vocab-size", "300"}).exit_code, 2) << "no --out";
  EXPECT_THAT(run({"prepare", in("corpus.jsonl"), "--out", in("data")}).errors, HasSubstr("--vocab-size N"));
  EXPECT_THAT(run({"prepare", in("corpus.jsonl"), "--out", in("data"), "--vocab-size", "many"}).errors,
              HasSubstr("many"));
  EXPECT_EQ(prepare({"--tokenizer", "x.json"}).exit_code, 2);
  EXPECT_EQ(prepare({"--validation", "2"}).exit_code, 2);
  EXPECT_THAT(prepare({"--separator", "\\q"}).errors, HasSubstr("\\q is none of"));
  const Ended missing = run({"prepare", in("none.jsonl"), "--out", in("data"), "--vocab-size", "300"});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.errors, HasSubstr("none.jsonl"));
  write_bytes(in("bad.jsonl"), "{\"text\": \"fine\"}\n{\"txt\": 1}\n");
  const Ended bad = run({"prepare", in("bad.jsonl"), "--out", in("data"), "--vocab-size", "300"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.errors, HasSubstr("bad.jsonl:2"));
  EXPECT_FALSE(fs::exists(in("data")));
}

TEST_F(DataCommands, InspectNamesDamageAndExitsWithThree) {
  ASSERT_EQ(prepare({}).exit_code, 0);
  std::string shard = read_bytes(in("data/train-00000.shard"));
  shard[shard.size() / 2] ^= 1;
  write_bytes(in("data/train-00000.shard"), shard);
  for (const std::vector<std::string>& how : {std::vector<std::string>{"--verify"}, {"--text", "train"}}) {
    std::vector<std::string> arguments = {"inspect", in("data")};
    arguments.insert(arguments.end(), how.begin(), how.end());
    const Ended ended = run(arguments);
    EXPECT_EQ(ended.exit_code, 3) << ended.errors;
    EXPECT_THAT(ended.errors, HasSubstr("train-00000.shard"));
  }
}

TEST_F(DataCommands, InspectFindsAnExchangedTokenizer) {
  ASSERT_EQ(prepare({}).exit_code, 0);
  std::ofstream(in("data/tokenizer.json"), std::ios::app) << " ";
  EXPECT_EQ(run({"inspect", in("data")}).exit_code, 3);
}

TEST_F(DataCommands, InspectSaysWhatItKnows) {
  EXPECT_THAT(run({"inspect", in("none")}).errors, HasSubstr("there is no " + in("none")));
  EXPECT_THAT(run({"inspect", in("")}).errors, HasSubstr("is nothing that inspect knows"));
  EXPECT_THAT(run({"inspect", in("corpus.jsonl")}).errors, HasSubstr("a file that inspect does not know"));
  ASSERT_EQ(prepare({}).exit_code, 0);
  EXPECT_THAT(run({"inspect", in("data"), "--text", "test"}).errors, HasSubstr("test"));
}

}  // namespace
}  // namespace trireme
