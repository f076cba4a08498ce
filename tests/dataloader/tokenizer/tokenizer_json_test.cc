#include "dataloader/tokenizer/tokenizer_json.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "dataloader/tokenizer/tokenizer.h"
#include "dataloader/tokenizer/train.h"
#include "monitoring/error.h"
#include "tests/dataloader/tokenizer/exercise.h"
#include "tests/paths.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json valid() { return json::parse(write_tokenizer_json(train_bpe({{"aaab", 3}, {"cd", 1}}, {.vocab_size = 260}))); }

std::string complaint(const std::string& bytes) {
  try {
    Tokenizer::parse(bytes, "x/tokenizer.json");
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("x/tokenizer.json"));
    return error.what();
  }
  return "accepted";
}

// What is said when the value at `pointer` is set to `value`.
std::string complaint_of(const char* pointer, const json& value) {
  json document = valid();
  document[json::json_pointer(pointer)] = value;
  return complaint(document.dump());
}

json split(const json& pattern) {
  return {{"type", "Split"}, {"pattern", pattern}, {"behavior", "Isolated"}, {"invert", false}};
}

json sequence(const std::vector<json>& parts) { return {{"type", "Sequence"}, {"pretokenizers", parts}}; }

const json kByteLevel = {{"type", "ByteLevel"}, {"use_regex", false}, {"add_prefix_space", false}};

TEST(TokenizerJson, RefusesByNameWhatItDoesNotImplement) {
  struct {
    const char* pointer;
    json value;
    const char* reason;
  } const cases[] = {
      {"/model/type", "WordPiece", "model.type: is \"WordPiece\"; supported: BPE"},
      {"/model/dropout", 0.1, "model.dropout: is 0.1, which is not implemented"},
      {"/model/byte_fallback", true, "model.byte_fallback: is true"},
      {"/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix: is \"</w>\""},
      {"/model/continuing_subword_prefix", "##", "model.continuing_subword_prefix"},
      {"/model/fresh_idea", 1, "has the field \"fresh_idea\""},
      {"/fresh_idea", 1, "has the field \"fresh_idea\""},
      {"/version", "2.0", "version: is \"2.0\""},
      {"/normalizer", {{"type", "NFC"}}, "normalizer: is \"NFC\""},
      {"/truncation", {{"max_length", 512}}, "truncation"},
      {"/padding", {{"direction", "Right"}}, "padding"},
      {"/decoder", nullptr, "decoder: is null"},
      {"/decoder", {{"type", "WordPiece"}}, "decoder: is \"WordPiece\""},
      {"/pre_tokenizer", nullptr, "pre_tokenizer: is null"},
      {"/pre_tokenizer", {{"type", "Metaspace"}}, "pre_tokenizer: is \"Metaspace\""},
      {"/pre_tokenizer", sequence({}), "empty Sequence"},
      {"/pre_tokenizer", sequence({{{"type", "Digits"}}, kByteLevel}), "pretokenizers[0]: is \"Digits\""},
      {"/pre_tokenizer", sequence({split({{"String", " "}})}), "pretokenizers[0]: is \"Split\""},
      {"/pre_tokenizer", sequence({kByteLevel, kByteLevel}), "pretokenizers[0]: is \"ByteLevel\""},
      {"/pre_tokenizer", sequence({split({{"Regex", "(a"}}), kByteLevel}), "split pattern '(a'"},
      {"/pre_tokenizer", sequence({split({{"Regex", "\\w+"}}), kByteLevel}), "the escape \\w"},
      {"/pre_tokenizer", sequence({split({{"Regex", "a*"}}), kByteLevel}), "matches the empty text"},
      {"/pre_tokenizer", sequence({split({{"Regex", "^a"}}), kByteLevel}), "'^' is not supported"},
      {"/pre_tokenizer", sequence({split({{"Regex", "(?m)a"}}), kByteLevel}), "the group '(?m)'"},
      {"/pre_tokenizer", sequence({split({{"Regex", "[a[b]]"}}), kByteLevel}), "a class within a class"},
      {"/pre_tokenizer", sequence({split({{"Regex", "[a&&b]"}}), kByteLevel}), "the intersection"},
      {"/pre_tokenizer/add_prefix_space", "yes", "pre_tokenizer.add_prefix_space: is \"yes\""},
      {"/post_processor", {{"type", "RobertaProcessing"}}, "post_processor: is \"RobertaProcessing\""},
      {"/added_tokens/0/single_word", true, "added_tokens[0].single_word"},
      {"/added_tokens/0/id", 7, "added_tokens[0]: has id 7, but model.vocab says 0"},
      {"/added_tokens/0/id", -1, "added_tokens[0].id: is -1"},
      {"/added_tokens/0/content", "<x>", "which belongs to \"<|endoftext|>\""},
  };
  for (const auto& one : cases) {
    EXPECT_THAT(complaint_of(one.pointer, one.value), HasSubstr(one.reason)) << one.pointer << " " << one.value;
  }
}

TEST(TokenizerJson, NamesWhatIsWrongInVocabularyAndMerges) {
  EXPECT_THAT(complaint_of("/model/vocab/zz", 5), HasSubstr("share the id 5"));
  EXPECT_THAT(complaint_of("/model/vocab/zz", -5), HasSubstr("\"zz\" is -5"));
  EXPECT_THAT(complaint_of("/model/vocab/zz", std::uint64_t{1} << 40), HasSubstr("\"zz\" is 1099511627776"));
  EXPECT_THAT(complaint_of("/model/vocab/zz", 10000000), HasSubstr("has the token id 10000000 among only 261"));
  EXPECT_THAT(complaint_of("/model/merges/0", "a"), HasSubstr("model.merges[0]: is \"a\""));
  EXPECT_THAT(complaint_of("/model/merges/0", "a b c"), HasSubstr("model.merges[0]"));
  EXPECT_THAT(complaint_of("/model/merges/0", {"a"}), HasSubstr("has 1 elements"));
  EXPECT_THAT(complaint_of("/model/merges/0", "a qq"), HasSubstr("\"qq\" is not in model.vocab"));
  EXPECT_THAT(complaint_of("/model/merges/0", "a z"), HasSubstr("\"az\" is not in model.vocab"));
  json document = valid();
  document["model"]["vocab"].erase("a");
  EXPECT_THAT(complaint(document.dump()), HasSubstr("no token for byte 97 (written \"a\")"));
}

TEST(TokenizerJson, NamesTheByteOfBadJson) {
  EXPECT_THAT(complaint(""), HasSubstr("is not valid JSON"));
  EXPECT_THAT(complaint("{\"version\": \"1.0\", }"), HasSubstr("column 20"));
  EXPECT_THAT(complaint("[]"), HasSubstr("is an array; supported: an object"));
  EXPECT_THAT(complaint("{}"), HasSubstr("model"));
  const std::string whole = valid().dump();
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 97) {
    EXPECT_THAT(complaint(whole.substr(0, bytes)), HasSubstr("is not valid JSON")) << bytes;
  }
}

TEST(TokenizerJson, ChecksTheTemplate) {
  const json special = {{"<|endoftext|>", {{"id", "<|endoftext|>"}, {"ids", {0}}, {"tokens", {"<|endoftext|>"}}}}};
  const auto with = [&](const json& single, const json& tokens) {
    return complaint_of(
        "/post_processor",
        {{"type", "TemplateProcessing"}, {"single", single}, {"pair", json::array()}, {"special_tokens", tokens}});
  };
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json begin = {{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}};
  EXPECT_EQ(with({begin, text, begin}, special), "accepted");
  EXPECT_THAT(with(json::array({begin}), special), HasSubstr("has no sequence A"));
  EXPECT_THAT(with({text, text}, special), HasSubstr("must be sequence A, once"));
  EXPECT_THAT(with({begin, text}, json::object()), HasSubstr("not among special_tokens"));
  json missing = special;
  missing["<|endoftext|>"]["ids"] = {9999};
  EXPECT_THAT(with({begin, text}, missing), HasSubstr("adds token 9999, which does not exist"));
}

TEST(TokenizerJson, AcceptsBothFormsOfMerges) {
  json document = valid();
  const auto ids = Tokenizer::parse(document.dump(), "strings").encode("aaabcd");
  EXPECT_LT(ids.size(), 6u);
  for (json& merge : document["model"]["merges"]) {
    const std::string both = merge;
    merge = {both.substr(0, both.find(' ')), both.substr(both.find(' ') + 1)};
  }
  EXPECT_EQ(Tokenizer::parse(document.dump(), "pairs").encode("aaabcd"), ids);
}

TEST(TokenizerJson, PassesItsFuzzersSeeds) {
  const int seeds =
      replay_seeds(TRIREME_SOURCE_DIR "/tests/dataloader/tokenizer/tokenizer_json_seeds", exercise_tokenizer_json);
  EXPECT_GE(seeds, 8);
}

}  // namespace
}  // namespace trireme
