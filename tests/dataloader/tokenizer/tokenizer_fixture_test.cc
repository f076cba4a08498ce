// The ids that Hugging Face's `tokenizers` gives, for four kinds of tokenizer.json and some 250 texts each.
// tests/dataloader/fixtures/make_tokenizer_fixtures.py made the fixtures.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "dataloader/tokenizer/tokenizer.h"
#include "dataloader/tokenizer/train.h"
#include "tests/paths.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

std::string fixture(const std::string& name) { return TRIREME_SOURCE_DIR "/tests/dataloader/fixtures/" + name; }

nlohmann::json read_json(const std::string& name) { return nlohmann::json::parse(read_bytes(fixture(name))); }

class TokenizerFixture : public ::testing::TestWithParam<const char*> {
 protected:
  void expect_ids_of_hugging_face(const Tokenizer& tokenizer, bool round_trip) {
    const auto cases = read_json(std::string("tokenizer_") + GetParam() + "_cases.json");
    ASSERT_GT(cases.size(), 200u);
    Encoder encoder(tokenizer);
    for (const auto& one : cases) {
      const auto text = one.at("text").get<std::string>();
      std::vector<TokenId> ids;
      encoder.encode(text, SpecialTokens::kMatch, ids);
      EXPECT_EQ(ids, one.at("ids").get<std::vector<TokenId>>()) << one.at("text");
      if (round_trip) {
        EXPECT_EQ(tokenizer.decode(ids), text);
      }
      ids.clear();
      encoder.encode(text, SpecialTokens::kPlainText, ids);
      EXPECT_EQ(ids, one.at("specials_as_text").get<std::vector<TokenId>>()) << one.at("text");
    }
  }
};

TEST_P(TokenizerFixture, GivesTheIdsOfHuggingFace) {
  const bool drops_text = std::string(GetParam()) == "prefixed";  // lstrip and rstrip; and it adds spaces
  expect_ids_of_hugging_face(Tokenizer::load(fixture(std::string("tokenizer_") + GetParam() + ".json")), !drops_text);
}

TEST_P(TokenizerFixture, GivesTheSameIdsOnceWrittenByUs) {
  const std::string bytes = read_bytes(fixture(std::string("tokenizer_") + GetParam() + ".json"));
  const TokenizerSpec spec = parse_tokenizer_json(bytes, GetParam());
  const std::string written = write_tokenizer_json(spec);
  EXPECT_EQ(write_tokenizer_json(parse_tokenizer_json(written, "written")), written);
  expect_ids_of_hugging_face(Tokenizer::parse(written, "written"), false);
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerFixture, ::testing::Values("gpt2", "llama3", "prefixed", "two_splits"));

TEST(HuggingFace, TrainsTheTokenizerThatHuggingFaceTrains) {
  WordCounter words;
  for (const auto& text : read_json("tokenizer_corpus.json")) words.add(text.get<std::string>());
  const TokenizerSpec ours = train_bpe(words.counts(), {.vocab_size = 500});
  const TokenizerSpec theirs = parse_tokenizer_json(read_bytes(fixture("tokenizer_gpt2.json")), "gpt2");
  EXPECT_EQ(ours.vocabulary, theirs.vocabulary);
  EXPECT_EQ(ours.merges, theirs.merges);
}

TEST(HuggingFace, ReadsTheBeginningOfTextFromTheTemplate) {
  const Tokenizer tokenizer = Tokenizer::load(fixture("tokenizer_llama3.json"));
  ASSERT_EQ(tokenizer.prefix().size(), 1u);
  EXPECT_EQ(tokenizer.bytes(tokenizer.prefix()[0]), "<|begin_of_text|>");
  EXPECT_TRUE(tokenizer.suffix().empty());
  EXPECT_EQ(tokenizer.end_of_document(), tokenizer.added_token("<|end_of_text|>"));
}

}  // namespace
}  // namespace trireme
