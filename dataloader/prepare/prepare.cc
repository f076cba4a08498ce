#include "dataloader/prepare/prepare.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include <xxhash.h>

#include "dataloader/prepare/json_record.h"
#include "dataloader/prepare/ordered_pipeline.h"
#include "dataloader/prepare/output_folder.h"
#include "dataloader/prepare/receipt.h"
#include "dataloader/prepare/records.h"
#include "dataloader/shard/durable_file.h"
#include "dataloader/shard/manifest.h"
#include "dataloader/shard/sha256.h"
#include "dataloader/shard/shard_writer.h"
#include "dataloader/tokenizer/tokenizer.h"
#include "dataloader/tokenizer/train.h"
#include "dataloader/tokenizer/utf8.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kTextInFlight = std::size_t{64} << 20;
constexpr double kProgressSeconds = 0.2;
constexpr double kAssumedCompression = 4;  // text bytes to a byte of .gz or .zst; only sizes the tokenizer's sample
constexpr char kTokenizerFile[] = "tokenizer.json";

// A number in [0, 1) for each document and purpose: a keyed hash, so that it depends on nothing else.
double draw(std::uint64_t seed, std::uint64_t purpose, std::uint64_t index) {
  const std::uint64_t key[2] = {purpose, index};
  return static_cast<double>(XXH3_64bits_withSeed(key, sizeof key, seed) >> 11) * 0x1p-53;
}
constexpr std::uint64_t kSplitPurpose = 0;
constexpr std::uint64_t kTokenizerPurpose = 1;

bool in_validation(const PrepareOptions& options, std::uint64_t index) {
  return draw(options.seed, kSplitPurpose, index) < options.validation_fraction;
}

// The texts of a batch: on_text(index, text) for each record.
template <class OnText>
void for_each_text(const RecordBatch& batch, const PrepareOptions& options, OnText on_text) {
  for (std::size_t i = 0; i < batch.records.size(); ++i) {
    const std::string_view record = batch.text(batch.records[i]);
    if (batch.kind == RecordKind::kText) {
      on_text(batch.first_index + i, record);
    } else {
      const std::string place = batch.input->string() + ":" + std::to_string(batch.records[i].line);
      on_text(batch.first_index + i, std::string_view(json_text(record, options.text_field, place)));
    }
  }
}

// Reports now and then, and at the end.
class Reporter {
 public:
  Reporter(PrepareProgress::Phase phase, std::uint64_t bytes_total, const OnPrepareProgress& report)
      : report_(report), begin_(Clock::now()), last_(begin_) {
    progress.phase = phase;
    progress.bytes_total = bytes_total;
  }
  void now_and_then() {
    if (std::chrono::duration<double>(Clock::now() - last_).count() >= kProgressSeconds) send();
  }
  void end() {
    progress.bytes_read = progress.bytes_total;
    send();
  }
  PrepareProgress progress;

 private:
  void send() {
    last_ = Clock::now();
    progress.seconds = std::chrono::duration<double>(last_ - begin_).count();
    if (report_) report_(progress);
  }
  const OnPrepareProgress& report_;
  Clock::time_point begin_, last_;
};

class Preparation {
 public:
  Preparation(const PrepareOptions& options, const OnPrepareProgress& report) : options_(options), report_(report) {
    workers_ =
        options.threads > 0 ? options.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    for (const auto& input : options.inputs) {
      ByteSource::open(input);  // a missing input is found before hours of work
      input_bytes_ += std::filesystem::file_size(input);
      const bool compressed = without_compression(input) != input;
      text_bytes_about_ +=
          static_cast<double>(std::filesystem::file_size(input)) * (compressed ? kAssumedCompression : 1);
    }
  }

  PrepareSummary run() {
    std::string tokenizer_json, given_sha256;
    if (!options_.tokenizer.empty()) {
      tokenizer_json = read_tokenizer_json(options_.tokenizer);
      given_sha256 = sha256_hex(tokenizer_json);
    }
    if (const auto before = prepared_before(options_, given_sha256)) return *before;

    OutputFolder out(options_.out);
    if (tokenizer_json.empty()) tokenizer_json = write_tokenizer_json(train_tokenizer());
    const Tokenizer tokenizer = Tokenizer::parse(
        tokenizer_json, given_sha256.empty() ? "the trained tokenizer.json" : options_.tokenizer.string());
    write_file_durably(out.path() / kTokenizerFile, tokenizer_json);
    DatasetManifest manifest;
    manifest.tokenizer_file = kTokenizerFile;
    manifest.tokenizer_sha256 = sha256_hex(tokenizer_json);
    manifest.vocab_size = static_cast<std::uint32_t>(tokenizer.vocab_size());
    manifest.end_of_document = end_of_document(tokenizer);
    std::vector<std::string> digests;
    PrepareSummary summary = write_shards(tokenizer, out.path(), manifest, digests);
    summary.vocab_size = tokenizer.vocab_size();
    write_file_durably(out.path() / kReceiptFile, receipt_json(options_, given_sha256, digests, summary));
    write_manifest(out.path(), manifest);
    out.publish();
    return summary;
  }

 private:
  RecordOptions record_options() const { return {options_.separator, options_.max_document_bytes}; }

  TokenId end_of_document(const Tokenizer& tokenizer) const {
    const bool named = !options_.end_of_document.empty();
    const auto id = named ? tokenizer.added_token(options_.end_of_document) : tokenizer.end_of_document();
    if (id) return *id;
    throw UserError("the tokenizer has no token " + (named ? "'" + options_.end_of_document + "'" : "<|endoftext|>") +
                    " to end documents with; name one of its added tokens as the end of a document");
  }

  // Feeds every batch of the corpus through `transform` and hands the results, in order, to `consume`.
  template <class Transform, class Consume>
  std::vector<std::string> for_each_batch(Transform transform, Consume consume) {
    RecordReader reader(options_.inputs, record_options());
    run_in_order(
        workers_, kTextInFlight,
        [&]() -> std::optional<RecordBatch> {
          RecordBatch batch;
          if (!reader.next(batch)) return std::nullopt;
          return batch;
        },
        [](const RecordBatch& batch) { return batch.bytes.size(); }, transform, consume);
    return reader.digests();
  }

  TokenizerSpec train_tokenizer() {
    const double share = static_cast<double>(options_.tokenizer_text_bytes) / std::max(1.0, text_bytes_about_);
    struct Counted {
      std::uint64_t documents = 0;
      std::uint64_t bytes_read = 0;
    };
    std::vector<WordCounter> counters(static_cast<std::size_t>(workers_));
    Reporter reporter(PrepareProgress::Phase::kTrainTokenizer, input_bytes_, report_);
    for_each_batch(
        [&](int worker, const RecordBatch& batch) {
          Counted counted{0, batch.input_bytes_read};
          for_each_text(batch, options_, [&](std::uint64_t index, std::string_view text) {
            if (in_validation(options_, index) || draw(options_.seed, kTokenizerPurpose, index) >= share) return;
            counters[static_cast<std::size_t>(worker)].add(text);
            ++counted.documents;
          });
          return counted;
        },
        [&](const Counted& counted) {
          reporter.progress.documents += counted.documents;
          reporter.progress.bytes_read = counted.bytes_read;
          reporter.now_and_then();
        });
    for (std::size_t i = 1; i < counters.size(); ++i) counters[0].merge(std::move(counters[i]));
    TokenizerSpec spec = train_bpe(counters[0].counts(), {.vocab_size = options_.vocab_size});
    reporter.end();
    return spec;
  }

  // A batch as tokens. Documents stand one after another in `tokens`.
  struct Encoded {
    struct Document {
      std::size_t end = 0;  // in tokens
      std::size_t text_bytes = 0;
      bool validation = false;
    };
    std::vector<TokenId> tokens;
    std::vector<Document> documents;
    std::uint64_t empty = 0;
    std::uint64_t malformed = 0;
    std::uint64_t bytes_read = 0;
  };

  Encoded encode(const RecordBatch& batch, const Tokenizer& tokenizer, TokenId end, Encoder& encoder) const {
    Encoded out;
    out.bytes_read = batch.input_bytes_read;
    for_each_text(batch, options_, [&](std::uint64_t index, std::string_view text) {
      if (text.empty()) {
        ++out.empty;
        return;
      }
      out.malformed += well_formed_prefix(text) != text.size();
      out.tokens.insert(out.tokens.end(), tokenizer.prefix().begin(), tokenizer.prefix().end());
      encoder.encode(text, SpecialTokens::kPlainText, out.tokens);
      out.tokens.insert(out.tokens.end(), tokenizer.suffix().begin(), tokenizer.suffix().end());
      if (tokenizer.suffix().empty() || tokenizer.suffix().back() != end) out.tokens.push_back(end);
      out.documents.push_back({out.tokens.size(), text.size(), in_validation(options_, index)});
    });
    return out;
  }

  PrepareSummary write_shards(const Tokenizer& tokenizer, const std::filesystem::path& folder,
                              DatasetManifest& manifest, std::vector<std::string>& digests) {
    const ShardWriterOptions shards{.vocab_size = manifest.vocab_size, .shard_bytes = options_.shard_bytes};
    ShardWriter train(folder, "train", shards), validation(folder, "validation", shards);
    std::vector<Encoder> encoders;
    encoders.reserve(static_cast<std::size_t>(workers_));
    for (int i = 0; i < workers_; ++i) encoders.emplace_back(tokenizer);
    PrepareSummary summary;
    Reporter reporter(PrepareProgress::Phase::kTokenize, input_bytes_, report_);
    digests = for_each_batch(
        [&](int worker, const RecordBatch& batch) {
          return encode(batch, tokenizer, manifest.end_of_document, encoders[static_cast<std::size_t>(worker)]);
        },
        [&](const Encoded& batch) {
          std::size_t begin = 0;
          for (const Encoded::Document& document : batch.documents) {
            const std::span<const TokenId> tokens(batch.tokens.data() + begin, document.end - begin);
            PrepareSplit& split = document.validation ? summary.validation : summary.train;
            (document.validation ? validation : train).add_document(tokens);
            ++split.documents;
            split.tokens += tokens.size();
            split.text_bytes += document.text_bytes;
            begin = document.end;
          }
          summary.empty_documents += batch.empty;
          summary.malformed_documents += batch.malformed;
          reporter.progress.documents += batch.documents.size();
          reporter.progress.tokens += batch.tokens.size();
          reporter.progress.bytes_read = batch.bytes_read;
          reporter.now_and_then();
        });
    refuse_empty_splits(summary);
    manifest.splits.push_back(train.finish(summary.train.text_bytes));
    if (summary.validation.documents > 0) manifest.splits.push_back(validation.finish(summary.validation.text_bytes));
    reporter.end();
    return summary;
  }

  void refuse_empty_splits(const PrepareSummary& summary) const {
    const std::uint64_t documents = summary.train.documents + summary.validation.documents;
    if (documents == 0) throw UserError("the inputs hold no text: every document is empty");
    const bool no_validation =
        options_.validation_fraction > 0 && !options_.validation_may_be_empty && summary.validation.documents == 0;
    if (summary.train.documents > 0 && !no_validation) return;
    throw UserError("of " + std::to_string(documents) + " documents a validation fraction of " +
                    std::to_string(options_.validation_fraction) + " leaves none for " +
                    (no_validation ? "validation" : "training") +
                    ": change the fraction (0 for no validation), or name the separator that divides the text into "
                    "documents");
  }

  static std::string read_tokenizer_json(const std::filesystem::path& path) {
    const std::unique_ptr<ByteSource> file = ByteSource::open_raw(path);
    std::string bytes;
    std::vector<char> block(std::size_t{1} << 20);
    while (const std::size_t count = file->read(block)) {
      bytes.append(block.data(), count);
      if (bytes.size() > kMaxTokenizerJsonBytes) break;  // the parser says so
    }
    if (bytes.empty()) throw UserError(path.string() + " is empty; expected a tokenizer.json");
    return bytes;
  }

  const PrepareOptions& options_;
  const OnPrepareProgress& report_;
  int workers_ = 1;
  std::uint64_t input_bytes_ = 0;
  double text_bytes_about_ = 0;
};

void check_options(const PrepareOptions& options) {
  if (options.inputs.empty()) throw UserError("no inputs were given; name at least one file of text or JSON lines");
  if (options.out.empty()) throw UserError("no output folder was given");
  if ((options.vocab_size != 0) == !options.tokenizer.empty()) {
    throw UserError("either a vocabulary size, to train a tokenizer, or a tokenizer.json must be given, and not both");
  }
  if (options.tokenizer.empty()) train_bpe({}, {.vocab_size = options.vocab_size});  // refuses impossible sizes now
  if (!(options.validation_fraction >= 0 && options.validation_fraction < 1)) {
    throw UserError("the validation fraction is " + std::to_string(options.validation_fraction) +
                    "; it must be at least 0 and less than 1");
  }
  if (options.threads < 0) throw UserError("the number of threads is " + std::to_string(options.threads));
  if (options.max_document_bytes == 0 || options.shard_bytes == 0) {
    throw UserError("the largest document and the size of a shard must be at least one byte");
  }
}

}  // namespace

PrepareSummary prepare(const PrepareOptions& options, const OnPrepareProgress& progress) {
  check_options(options);
  return Preparation(options, progress).run();
}

}  // namespace trireme
