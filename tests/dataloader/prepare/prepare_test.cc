#include "dataloader/prepare/prepare.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataloader/tokenizer/tokenizer_json.h"
#include "monitoring/error.h"
#include "tests/dataloader/prepare/corpus_files.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

class Prepare : public ::testing::Test {
 protected:
  PrepareOptions options(const std::vector<std::filesystem::path>& inputs) const {
    PrepareOptions options;
    options.inputs = inputs;
    options.out = folder_.path() / "out";
    options.vocab_size = 300;
    options.threads = 2;
    return options;
  }
  std::filesystem::path input(const std::string& name, const std::string& bytes) const {
    return write_file(folder_.path() / name, bytes);
  }
  // What prepare() complains of; OUT must be as it was before.
  template <class Kind = UserError>
  std::string complaint(const PrepareOptions& options) const {
    const bool existed = std::filesystem::exists(options.out);
    try {
      prepare(options);
    } catch (const Kind& error) {
      EXPECT_EQ(std::filesystem::exists(options.out), existed);
      EXPECT_FALSE(std::filesystem::exists(options.out.string() + ".partial"));
      return error.what();
    }
    ADD_FAILURE() << "prepare did not complain";
    return "";
  }

  ScratchFolder folder_;
};

TEST_F(Prepare, ReadsTheSameDocumentsFromEveryKindOfInput) {
  const std::vector<std::string> texts = some_texts(50);
  const std::string lines = json_lines(texts);
  const std::string text = joined(texts, "\n==\n");
  const std::string half = lines.substr(0, lines.size() / 2), rest = lines.substr(lines.size() / 2);
  const std::vector<std::filesystem::path> inputs = {
      input("a.jsonl", lines),
      input("b.jsonl.gz", gzip(lines)),
      input("c.jsonl.zst", zstd(lines)),
      input("two_streams.ndjson.gz", gzip(half) + gzip(rest) + std::string(512, '\0')),
      input("two_frames.jsonl.zst", zstd(half) + zstd(rest)),
      input("no_newline_at_end.jsonl", lines.substr(0, lines.size() - 1)),
      input("blank_lines.jsonl", "\n  \r\n" + lines + "\n"),
      input("d.txt", text),
      input("e.txt.gz", gzip(text)),
      input("f.txt.zst", zstd(text)),
      input("byte_order_mark.txt", "\xEF\xBB\xBF" + text),
  };
  for (const auto& file : inputs) {
    PrepareOptions options = this->options({file});
    options.separator = "\n==\n";
    options.out = folder_.path() / (file.filename().string() + ".out");
    const PrepareSummary summary = prepare(options);
    EXPECT_EQ(summary.train.documents, texts.size()) << file;
    EXPECT_EQ(documents_of(options.out, "train"), texts) << file;
  }
}

TEST_F(Prepare, TakesAFileOfTextAsADocument) {
  const std::vector<std::string> texts = {"first\n\nfile\n", std::string(3 << 20, 'x'), "third"};
  const auto summary =
      prepare(options({input("1.txt", texts[0]), input("2.txt.zst", zstd(texts[1])), input("3", texts[2])}));
  EXPECT_EQ(documents_of(folder_.path() / "out", "train"), texts);
  EXPECT_EQ(summary.train.text_bytes, texts[0].size() + texts[1].size() + texts[2].size());
}

TEST_F(Prepare, WritesTheSameBytesWithAnyNumberOfThreads) {
  const std::vector<std::string> texts = some_texts(20000);  // several batches
  PrepareOptions options =
      this->options({input("a.jsonl", json_lines(texts)), input("b.jsonl.gz", gzip(json_lines(texts)))});
  options.validation_fraction = 0.1;
  options.shard_bytes = 1 << 20;
  options.threads = 1;
  prepare(options);
  const auto expected = contents_of(options.out);
  EXPECT_GT(expected.size(), 5u);
  options.threads = 4;
  options.out = folder_.path() / "again";
  prepare(options);
  EXPECT_EQ(contents_of(options.out), expected);
}

TEST_F(Prepare, SplitsByDocumentAndKeepsTheOrder) {
  const std::vector<std::string> texts = some_texts(2000);
  PrepareOptions options = this->options({input("a.jsonl", json_lines(texts))});
  options.validation_fraction = 0.25;
  const PrepareSummary summary = prepare(options);
  const auto train = documents_of(options.out, "train"), validation = documents_of(options.out, "validation");
  // Binomial(2000, 1/4) has a standard deviation of 19.4: six of them.
  EXPECT_NEAR(static_cast<double>(validation.size()), 500, 6 * 19.4);
  std::size_t t = 0, v = 0;
  for (const std::string& text : texts) {
    if (t < train.size() && train[t] == text) {
      ++t;
    } else if (v < validation.size() && validation[v] == text) {
      ++v;
    } else {
      ADD_FAILURE() << "lost, or out of order: " << text;
    }
  }
  EXPECT_EQ(t + v, texts.size());
  EXPECT_EQ(summary.validation.documents, validation.size());

  options.seed = 1;
  options.out = folder_.path() / "other";
  prepare(options);
  EXPECT_NE(documents_of(options.out, "validation"), validation);
}

TEST_F(Prepare, TrainsTheTokenizerWithoutValidationText) {
  // A word that only validation documents have must not become a token.
  std::vector<std::string> texts = some_texts(400);
  PrepareOptions options = this->options({input("a.jsonl", json_lines(texts))});
  options.validation_fraction = 0.5;
  options.vocab_size = 2000;
  prepare(options);
  const auto before = read_bytes(options.out / "tokenizer.json");
  const auto held_out = documents_of(options.out, "validation");
  for (std::string& text : texts) {
    if (std::find(held_out.begin(), held_out.end(), text) != held_out.end()) text += " zyzzyva zyzzyva";
  }
  options.inputs = {input("b.jsonl", json_lines(texts))};
  options.out = folder_.path() / "other";
  prepare(options);
  EXPECT_EQ(read_bytes(options.out / "tokenizer.json"), before);
}

TEST_F(Prepare, TakesATokenizerAndCopiesItByteForByte) {
  prepare(options({input("a.txt", "the oars of the trireme, the oars")}));
  const auto tokenizer =
      write_file(folder_.path() / "t.json", read_bytes(folder_.path() / "out/tokenizer.json") + "\n\n");
  PrepareOptions options = this->options({input("b.txt", "other oars")});
  options.vocab_size = 0;
  options.tokenizer = tokenizer;
  options.out = folder_.path() / "other";
  prepare(options);
  EXPECT_EQ(read_bytes(options.out / "tokenizer.json"), read_bytes(tokenizer));
  EXPECT_EQ(documents_of(options.out, "train"), std::vector<std::string>{"other oars"});
}

TEST_F(Prepare, KeepsTheNameOfASpecialTokenAsText) {
  const std::string text = "he wrote <|endoftext|> and went on";
  PrepareOptions options = this->options({input("a.txt", text)});
  EXPECT_EQ(prepare(options).train.documents, 1u);
  const Dataset dataset(options.out);
  std::vector<std::int32_t> tokens(dataset.split("train").tokens());
  dataset.split("train").read(0, tokens);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), static_cast<std::int32_t>(dataset.manifest().end_of_document)), 1);
  EXPECT_EQ(documents_of(options.out, "train"), std::vector<std::string>{text});
}

TEST_F(Prepare, PutsTheTemplateOfTheTokenizerAroundEachDocument) {
  prepare(options({input("a.txt", "ab")}));
  TokenizerSpec spec = parse_tokenizer_json(read_bytes(folder_.path() / "out/tokenizer.json"), "t");
  const auto size = static_cast<TokenId>(spec.vocabulary.size());
  spec.added_tokens.push_back({size, "<|begin|>", false, false, false, true});
  spec.prefix = {size};
  spec.suffix = {0};  // <|endoftext|>: not twice
  PrepareOptions options = this->options({folder_.path() / "a.txt"});
  options.vocab_size = 0;
  options.tokenizer = write_file(folder_.path() / "t.json", write_tokenizer_json(spec));
  options.out = folder_.path() / "other";
  prepare(options);
  EXPECT_EQ(documents_of(options.out, "train"), std::vector<std::string>{"<|begin|>ab"});
}

TEST_F(Prepare, LeavesOutEmptyDocumentsAndCountsMalformedOnes) {
  PrepareOptions options = this->options(
      {input("a.txt", "one\n\n\n\ntwo\n\n\xff three"), input("b.jsonl", "{\"text\": \"\"}\n{\"text\": \"four\"}\n")});
  options.separator = "\n\n";
  const PrepareSummary summary = prepare(options);
  EXPECT_EQ(documents_of(options.out, "train"), (std::vector<std::string>{"one", "two", "\xff three", "four"}));
  EXPECT_EQ(summary.empty_documents, 1u);
  EXPECT_EQ(summary.malformed_documents, 1u);
}

TEST_F(Prepare, NamesTheLineOfAnyBadRecord) {
  const std::string good = "{\"text\": \"good\"}\n";
  const std::pair<const char*, const char*> cases[] = {
      {"{\"text\": \"cut", "is not valid JSON: column 1"},
      {"{\"text\": \"a\"} extra", "is not valid JSON"},
      {"{\"text\": 7}", "has a number as \"text\""},
      {"{\"body\": \"a\"}", "has no field \"text\"; it has \"body\""},
      {"[\"text\"]", "is an array; expected an object"},
      {"\"text\"", "is a string; expected an object"},
      {"{\"text\": \"\xff\"}", "is not valid JSON"},
      {"{\"text\": \"a\", \"text\": \"b\"}", "\"text\" twice"},
      {"{\"text\": {\"text\": \"a\"}}", "has an object as"},
      {"{\"a\": {\"text\": \"a\"}}", "has no field"},
      {"{\"text\": \"\\ud800\"}", "is not valid JSON"},
      {"{}", "it has none"},
  };
  for (const auto& [line, reason] : cases) {
    const auto file = input("bad.jsonl", good + "\n" + good + line + "\n" + good);
    const std::string message = complaint(options({file}));
    EXPECT_THAT(message, HasSubstr(file.string() + ":4: the line ")) << line;
    EXPECT_THAT(message, HasSubstr(reason)) << line;
  }
}

TEST_F(Prepare, NamesTheEarliestOfManyBadLines) {
  std::vector<std::string> texts = some_texts(30000);
  std::string lines = json_lines(texts) + "bad\n" + json_lines(texts) + "bad\n";
  PrepareOptions options = this->options({input("a.jsonl", lines)});
  options.threads = 4;
  EXPECT_THAT(complaint(options), HasSubstr("a.jsonl:30001: "));
}

TEST_F(Prepare, NamesTheByteWhereACompressedInputIsCutShort) {
  const std::string lines = json_lines(some_texts(3000));
  for (const auto& [name, whole] : {std::pair{"a.jsonl.gz", gzip(lines)}, {"a.jsonl.zst", zstd(lines)}}) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{11}, whole.size() / 2, whole.size() - 1}) {
      const std::string message = complaint<DamagedDataError>(options({input(name, whole.substr(0, bytes))}));
      EXPECT_THAT(message, HasSubstr(std::string(name) + " ends within")) << bytes;
      EXPECT_THAT(message, HasSubstr("at byte " + std::to_string(bytes))) << name;
    }
    std::string flipped = whole;
    flipped[whole.size() / 2] ^= 0x10;
    EXPECT_THAT(complaint<DamagedDataError>(options({input(name, flipped)})), HasSubstr(name));
    EXPECT_THAT(complaint<DamagedDataError>(options({input(name, lines)})), HasSubstr("is not a whole"));
    EXPECT_THAT(complaint<DamagedDataError>(options({input(name, whole + "junk")})), HasSubstr(name));
  }
}

TEST_F(Prepare, RefusesADocumentThatIsTooLongByItsPlace) {
  PrepareOptions options = this->options({input("a.txt", "short\n--\n" + std::string(5000, 'x') + "\n--\nshort")});
  options.separator = "\n--\n";
  options.max_document_bytes = 4999;
  EXPECT_THAT(complaint(options), HasSubstr("a.txt:3: "));
  options.max_document_bytes = 5000;
  EXPECT_EQ(prepare(options).train.documents, 3u);
}

TEST_F(Prepare, NamesInputsThatCannotBeRead) {
  EXPECT_THAT(complaint(options({folder_.path() / "missing.txt"})), HasSubstr("missing.txt cannot be read"));
  EXPECT_THAT(complaint(options({folder_.path()})), HasSubstr("is a directory"));
  EXPECT_THAT(complaint(options({"/dev/null"})), HasSubstr("is not a regular file"));
  EXPECT_THAT(complaint(options({input("u.txt", std::string("\xff\xfe"
                                                            "a\0",
                                                            4))})),
              HasSubstr("UTF-16"));
  EXPECT_THAT(complaint(options({input("empty.txt", "")})), HasSubstr("hold no text"));
}

TEST_F(Prepare, NamesOptionsThatCannotBe) {
  const auto file = input("a.txt", "text");
  const auto with = [&](auto change) {
    PrepareOptions changed = options({file});
    change(changed);
    return complaint(changed);
  };
  EXPECT_THAT(with([](PrepareOptions& o) { o.inputs.clear(); }), HasSubstr("no inputs"));
  EXPECT_THAT(with([](PrepareOptions& o) { o.vocab_size = 0; }), HasSubstr("either a vocabulary size"));
  EXPECT_THAT(with([](PrepareOptions& o) { o.vocab_size = 100; }), HasSubstr("from 257"));
  EXPECT_THAT(with([](PrepareOptions& o) { o.validation_fraction = 1; }), HasSubstr("less than 1"));
  EXPECT_THAT(with([](PrepareOptions& o) { o.validation_fraction = 0.5; }), HasSubstr("of 1 documents"));
  EXPECT_THAT(with([](PrepareOptions& o) { o.end_of_document = "<end>"; }), HasSubstr("no token '<end>'"));
}

TEST_F(Prepare, KnowsThatItsWorkIsDone) {
  PrepareOptions options = this->options({input("a.jsonl", json_lines(some_texts(100)))});
  options.validation_fraction = 0.1;
  PrepareSummary first = prepare(options);
  const auto contents = contents_of(options.out);
  options.threads = 1;
  const PrepareSummary second = prepare(options);
  EXPECT_TRUE(second.already_there);
  EXPECT_EQ(second.train, first.train);
  EXPECT_EQ(second.validation, first.validation);
  EXPECT_EQ(second.vocab_size, first.vocab_size);
  EXPECT_EQ(contents_of(options.out), contents);
}

TEST_F(Prepare, NeverReplacesWhatIsDifferent) {
  PrepareOptions options = this->options({input("a.txt", "some text")});
  prepare(options);
  const auto contents = contents_of(options.out);
  options.vocab_size = 299;
  EXPECT_THAT(complaint(options), HasSubstr("with vocab_size 300, not 299"));
  options.vocab_size = 300;
  input("a.txt", "some test");
  EXPECT_THAT(complaint(options), HasSubstr("from another version of"));
  input("a.txt", "some text");
  std::filesystem::resize_file(options.out / "train-00000.shard", 100);
  EXPECT_THAT(complaint<DamagedDataError>(options), HasSubstr("train-00000.shard"));

  options.out = folder_.path() / "mine";
  std::filesystem::create_directory(options.out);
  write_file(options.out / "thesis.txt", "precious");
  EXPECT_THAT(complaint(options), HasSubstr("is not a folder of prepared data"));
  EXPECT_EQ(read_bytes(options.out / "thesis.txt"), "precious");
  options.out = options.out / "thesis.txt";
  EXPECT_THAT(complaint(options), HasSubstr("is not a folder"));
}

TEST_F(Prepare, RemovesWhatAKilledRunLeftAndFillsAnEmptyFolder) {
  PrepareOptions options = this->options({input("a.txt", "some text")});
  options.out = folder_.path() / "deep/er/out/";
  std::filesystem::create_directories(options.out);
  std::filesystem::create_directories(folder_.path() / "deep/er/out.partial/old");
  write_file(folder_.path() / "deep/er/out.partial/old/train-00000.shard", "half");
  prepare(options);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "deep/er/out.partial"));
  EXPECT_FALSE(std::filesystem::exists(options.out / "old"));
  EXPECT_EQ(documents_of(options.out, "train"), std::vector<std::string>{"some text"});
}

TEST_F(Prepare, ReportsItsProgressAndCanBeStopped) {
  PrepareOptions options = this->options({input("a.jsonl", json_lines(some_texts(500)))});
  std::vector<PrepareProgress> reports;
  const PrepareSummary summary = prepare(options, [&](const PrepareProgress& p) { reports.push_back(p); });
  ASSERT_GE(reports.size(), 2u);
  EXPECT_EQ(reports.front().phase, PrepareProgress::Phase::kTrainTokenizer);
  EXPECT_EQ(reports.back().phase, PrepareProgress::Phase::kTokenize);
  EXPECT_EQ(reports.back().bytes_read, std::filesystem::file_size(options.inputs[0]));
  EXPECT_EQ(reports.back().documents, summary.train.documents);
  EXPECT_EQ(reports.back().tokens, summary.train.tokens);

  options.out = folder_.path() / "other";
  struct Stop {};
  EXPECT_THROW(prepare(options, [](const PrepareProgress&) { throw Stop(); }), Stop);
  EXPECT_FALSE(std::filesystem::exists(options.out));
  EXPECT_FALSE(std::filesystem::exists(options.out.string() + ".partial"));
}

}  // namespace
}  // namespace trireme
