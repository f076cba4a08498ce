#include "dataloader/tokenizer/tokenizer.h"

#include <fstream>
#include <thread>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "dataloader/tokenizer/bpe.h"
#include "dataloader/tokenizer/train.h"
#include "dataloader/tokenizer/utf8.h"
#include "monitoring/error.h"
#include "tests/dataloader/tokenizer/naive_bpe.h"

namespace trireme {
namespace {

const char* const kText =
    "Trireme pretrains language models: a trireme is a galley with three banks of oars, and the three banks row as "
    "one. "
    "It's what they'll say; we've said so 1234 times.\n\n\tDoes the oarsman know the galley? The oarsmen row. "
    "Gr\u00fc\u00dfe aus K\u00f6ln \u2014 \u65e5\u672c\u8a9e \u306e\u6587\u7ae0 \U0001F6A3\U0001F6A3 na\u00efve.";

TokenizerSpec trained_spec() {
  WordCounter words;
  words.add(kText);
  return train_bpe(words.counts(), {.vocab_size = 400});
}

const Tokenizer& trained() {
  static const Tokenizer tokenizer(trained_spec());
  return tokenizer;
}

std::string random_unicode() {
  std::string text;
  for (const auto c : *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::oneOf(
           rc::gen::inRange<std::uint32_t>(1, 0x80), rc::gen::inRange<std::uint32_t>(0x80, 0x3000),
           rc::gen::inRange<std::uint32_t>(0x3000, 0xD800), rc::gen::inRange<std::uint32_t>(0xE000, 0x110000)))) {
    append_utf8(c, text);
  }
  return text;
}

RC_GTEST_PROP(Tokenizer, DecodesWhatItEncodedOfAnyBytes, (const std::string& bytes)) {
  RC_ASSERT(trained().decode(trained().encode(bytes)) == bytes);
}

RC_GTEST_PROP(Tokenizer, DecodesWhatItEncodedOfUnicode, ()) {
  const std::string text = random_unicode();
  RC_ASSERT(trained().decode(trained().encode(text)) == text);
}

RC_GTEST_PROP(BpeModel, EqualsTheNaiveEncoderOnShortAndLongPieces, ()) {
  static const TokenizerSpec spec = trained_spec();
  static const BpeModel model = [] {
    std::array<TokenId, 256> ids{};
    for (const auto& [byte, id] : naive::byte_tokens(spec)) ids[byte] = id;
    return BpeModel(ids, spec.merges);
  }();
  const std::string text = kText;
  std::string piece;
  const int parts = *rc::gen::inRange(1, 8);
  for (int i = 0; i < parts; ++i) {
    const auto start = *rc::gen::inRange<std::size_t>(0, text.size());
    piece += text.substr(start, *rc::gen::inRange<std::size_t>(1, 20));
  }
  BpeModel::Scratch scratch;
  std::vector<TokenId> ids;
  model.encode(piece, scratch, ids);
  RC_ASSERT(ids == naive::encode(spec, piece));
}

TEST(Tokenizer, EncodesAMegabyteWithoutSpacesInLinearithmicTime) {
  std::string text;
  while (text.size() < (1u << 20)) text += "oarsgalleytrireme";
  const auto ids = trained().encode(text);  // a quadratic encoder would take minutes
  EXPECT_EQ(trained().decode(ids), text);
  EXPECT_LT(ids.size(), text.size());
}

TEST(Tokenizer, GivesTheSameIdsFromAWarmCacheAndFromManyThreads) {
  const auto expected = trained().encode(kText);
  std::vector<std::thread> threads;
  std::vector<int> differences(4, 0);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Encoder encoder(trained());
      for (int round = 0; round < 60; ++round) {  // the cache begins after 1024 pieces
        std::vector<TokenId> ids;
        encoder.encode(kText, SpecialTokens::kMatch, ids);
        differences[t] += ids != expected;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(differences, std::vector<int>(4, 0));
}

TEST(Tokenizer, MatchesSpecialTokensOnlyWhereAsked) {
  const TokenId end = trained().added_token("<|endoftext|>").value();
  EXPECT_EQ(trained().end_of_document(), end);
  EXPECT_TRUE(trained().is_special(end));
  EXPECT_EQ(trained().encode("<|endoftext|>"), std::vector<TokenId>{end});
  const auto plain = trained().encode("a<|endoftext|>b", SpecialTokens::kPlainText);
  EXPECT_EQ(std::count(plain.begin(), plain.end(), end), 0);
  EXPECT_EQ(trained().decode(plain), "a<|endoftext|>b");
}

TEST(Tokenizer, EncodesTheEmptyTextAsNothing) { EXPECT_TRUE(trained().encode("").empty()); }

TEST(Tokenizer, NamesAnIdThatDoesNotExist) {
  const std::vector<TokenId> ids = {400};
  EXPECT_EQ(trained().vocab_size(), 400);
  EXPECT_THROW(trained().decode(ids), UserError);
}

TEST(Tokenizer, IsTheSameAfterWritingAndReading) {
  const TokenizerSpec spec = trained_spec();
  const std::string json = write_tokenizer_json(spec);
  const TokenizerSpec again = parse_tokenizer_json(json, "tokenizer.json");
  EXPECT_EQ(again.vocabulary, spec.vocabulary);
  EXPECT_EQ(again.merges, spec.merges);
  EXPECT_EQ(write_tokenizer_json(again), json);
  EXPECT_EQ(Tokenizer::parse(json, "tokenizer.json").encode(kText), trained().encode(kText));
}

TEST(Tokenizer, NamesAFileThatIsNotThere) {
  try {
    Tokenizer::load("/nowhere/tokenizer.json");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("/nowhere/tokenizer.json"), std::string::npos);
  }
}

}  // namespace
}  // namespace trireme
