// Training reads tokens; people have text. prepare() turns a corpus into a folder of token shards, with the tokenizer
// that made them: everything that training, generation and bits per byte need, and nothing that depends on where,
// when or with how many threads it was made.
//
// OUT/ holds tokenizer.json, train-*.shard and validation-*.shard, manifest.textproto (dataloader/shard/manifest.h) and
// prepare.json (the inputs' names and digests and the options, by which a second run knows that its work is done).
//
// A document is the tokenizer's prefix, the text, its suffix, and the end-of-document token. Names of special tokens
// that stand in the text are text. Empty documents are left out. To which split a document belongs is a keyed hash of
// its index among all of them; the tokenizer is trained on the training split only.
// Memory: at most 64 MiB of text in flight, or one larger document; and the distinct words when a tokenizer is trained.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace trireme {

struct PrepareOptions {
  // Regular files: .jsonl, .ndjson, .json (an object a line) or text (all others), each also with .gz or .zst.
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path out;

  // Exactly one of these: train a byte-level BPE of so many tokens, or take a tokenizer.json.
  std::int64_t vocab_size = 0;
  std::filesystem::path tokenizer;

  std::string text_field = "text";  // of JSON lines
  std::string separator;            // between documents of plain text; empty: a file is a document
  double validation_fraction = 0;   // of the documents, in [0, 1)
  // Whether a fraction above 0 that leaves no document for validation (a corpus of few) is refused, or gives no split.
  bool validation_may_be_empty = false;
  std::uint64_t seed = 0;  // of the choice of validation documents
  // The token that ends a document, by its name; empty: <|endoftext|> or what the tokenizer has instead.
  std::string end_of_document;

  int threads = 0;  // that tokenize; 0: one a core
  // Longer documents are refused by file and line.
  std::size_t max_document_bytes = std::size_t{64} << 20;
  // A tokenizer is trained on about so much text at most: documents drawn evenly from the training split.
  std::uint64_t tokenizer_text_bytes = std::uint64_t{512} << 20;
  std::uint64_t shard_bytes = std::uint64_t{256} << 20;
};

struct PrepareProgress {
  enum class Phase { kTrainTokenizer, kTokenize };
  Phase phase = Phase::kTokenize;
  std::uint64_t bytes_read = 0;  // of the inputs as they lie on the disk, in this phase
  std::uint64_t bytes_total = 0;
  std::uint64_t documents = 0;
  std::uint64_t tokens = 0;  // while tokenizing
  double seconds = 0;        // since this phase began
};
// Called on prepare's own thread every fifth of a second or so and at the end of each phase. What it throws ends the
// run.
using OnPrepareProgress = std::function<void(const PrepareProgress&)>;

struct PrepareSplit {
  std::uint64_t documents = 0;
  std::uint64_t tokens = 0;
  std::uint64_t text_bytes = 0;
  bool operator==(const PrepareSplit&) const = default;
};

struct PrepareSummary {
  bool already_there = false;  // OUT held this very result: nothing was written
  std::int64_t vocab_size = 0;
  PrepareSplit train;
  PrepareSplit validation;
  std::uint64_t empty_documents = 0;      // left out
  std::uint64_t malformed_documents = 0;  // with bytes that are not UTF-8, which were encoded as they are
};

// Throws UserError (options, a missing or wrong input, a bad line as file:line, OUT holds something else) or
// DamagedDataError (a compressed input that is cut short or damaged, by its byte). OUT is then as it was before.
PrepareSummary prepare(const PrepareOptions& options, const OnPrepareProgress& progress = nullptr);

}  // namespace trireme
