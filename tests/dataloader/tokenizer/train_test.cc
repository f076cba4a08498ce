#include "dataloader/tokenizer/train.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"
#include "tests/dataloader/tokenizer/naive_bpe.h"

namespace trireme {
namespace {

TokenizerSpec untrained() { return train_bpe({}, {.vocab_size = 257, .special_tokens = {"<|endoftext|>"}}); }

void expect_like_naive(const WordCounts& words, std::int64_t vocab_size) {
  const TokenizerSpec trained = train_bpe(words, {.vocab_size = vocab_size, .special_tokens = {"<|endoftext|>"}});
  TokenizerSpec expected = untrained();
  naive::train({words.begin(), words.end()}, static_cast<std::size_t>(vocab_size), expected);
  EXPECT_EQ(trained.vocabulary, expected.vocabulary);
  EXPECT_EQ(trained.merges, expected.merges);
}

RC_GTEST_PROP(TrainBpe, EqualsTheNaiveTrainerOnFewLetters, ()) {
  WordCounts words;
  const auto count = *rc::gen::inRange(1, 12);
  for (int i = 0; i < count; ++i) {
    const auto word = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::element('a', 'b', 'c')));
    words[word.substr(0, 24)] += *rc::gen::inRange(1, 5);
  }
  expect_like_naive(words, 257 + *rc::gen::inRange(0, 40));
}

RC_GTEST_PROP(TrainBpe, EqualsTheNaiveTrainerOnAnyBytes, ()) {
  WordCounts words;
  for (const auto& word : *rc::gen::container<std::vector<std::string>>(rc::gen::arbitrary<std::string>())) {
    if (!word.empty()) ++words[word.substr(0, 16)];
  }
  expect_like_naive(words, 257 + *rc::gen::inRange(0, 20));
}

TEST(TrainBpe, CountsBeyondThirtyTwoBits) {
  const std::int64_t many = std::int64_t{3} << 32;
  const TokenizerSpec spec = train_bpe({{"the", many}, {"xy", many - 1}}, {.vocab_size = 258});
  ASSERT_EQ(spec.merges.size(), 1u);
  EXPECT_EQ(spec.vocabulary.back().first, "he");  // equal counts: h < t
}

TEST(TrainBpe, StopsWhenEveryWordIsOneToken) {
  const TokenizerSpec spec = train_bpe({{"ab", 2}}, {.vocab_size = 1000});
  EXPECT_EQ(spec.vocabulary.size(), 258u);
}

TEST(TrainBpe, RefusesAVocabularyWithoutRoomForTheBytes) {
  EXPECT_THROW(train_bpe({}, {.vocab_size = 256}), UserError);
  EXPECT_THROW(train_bpe({}, {.vocab_size = std::int64_t{1} << 40}), UserError);
}

TEST(WordCounter, SumsDoNotDependOnWhoCounted) {
  const std::vector<std::string> texts = {"The oars, the oars!", "it's 12 o'clock", "the\n\n  end", "\xff\xfe the"};
  WordCounter all;
  WordCounter parts[2];
  for (std::size_t i = 0; i < texts.size(); ++i) {
    all.add(texts[i]);
    parts[i % 2].add(texts[i]);
  }
  parts[0].merge(std::move(parts[1]));
  EXPECT_EQ(all.counts(), parts[0].counts());
  EXPECT_EQ(all.counts().at(" the"), 2);
  EXPECT_EQ(all.counts().at("\xff\xfe"), 1);
}

}  // namespace
}  // namespace trireme
