#include "dataloader/prepare/prepare.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "launch/command_line/commands.h"
#include "launch/command_line/output.h"
#include "monitoring/log.h"
#include "monitoring/run_report.h"

namespace trireme {
namespace {

constexpr double kDefaultValidation = 0.01;

// One bar a phase.
class ShownProgress {
 public:
  void show(const PrepareProgress& now) {
    if (!bar_ || now.phase != phase_) {
      if (bar_) bar_->finish();
      phase_ = now.phase;
      const char* what = phase_ == PrepareProgress::Phase::kTrainTokenizer ? "counting words" : "tokenizing";
      bar_.emplace(what, static_cast<double>(now.bytes_total), ProgressOptions{.unit = ProgressUnit::kBytes});
    }
    const std::string note = phase_ == PrepareProgress::Phase::kTokenize
                                 ? human_count(static_cast<double>(now.tokens)) + " tokens"
                                 : human_count(static_cast<double>(now.documents)) + " documents";
    bar_->update(static_cast<double>(now.bytes_read), note);
  }
  void finish() {
    if (bar_) bar_->finish();
  }

 private:
  std::optional<Progress> bar_;
  PrepareProgress::Phase phase_{};
};

std::string summary_text(const PrepareSummary& summary, const std::string& out) {
  Table table({"split", "documents", "tokens", "bytes of text", "bytes a token"},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight});
  auto row = [&](const char* name, const PrepareSplit& split) {
    const double ratio = static_cast<double>(split.text_bytes) / static_cast<double>(split.tokens);
    table.row({name, exact_count(split.documents), exact_count(split.tokens), exact_count(split.text_bytes),
               fmt::format("{:.2f}", ratio)});
  };
  row("train", summary.train);
  if (summary.validation.documents > 0) row("validation", summary.validation);
  std::string text = out + (summary.already_there ? " held this already: " : ": ") + exact_count(summary.vocab_size) +
                     " different tokens\n" + table.text(2);
  if (summary.validation.documents == 0) text += "There is no validation split.\n";
  if (summary.empty_documents > 0) text += exact_count(summary.empty_documents) + " empty documents were left out.\n";
  if (summary.malformed_documents > 0) {
    text += exact_count(summary.malformed_documents) +
            " documents hold bytes that are not UTF-8; they are kept as they are.\n";
  }
  return text;
}

// "\n\n" as people type it in a shell.
std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 1 < text.size();
    if (!escape) {
      out += text[i];
      continue;
    }
    const char next = text[++i];
    if (next == 'n') {
      out += '\n';
    } else if (next == 't') {
      out += '\t';
    } else if (next == 'r') {
      out += '\r';
    } else if (next == '\\') {
      out += '\\';
    } else {
      throw UserError("--separator: \\" + std::string(1, next) + " is none of \\n, \\t, \\r and \\\\");
    }
  }
  return out;
}

}  // namespace

void add_prepare_command(Command& program, ExitCode&) {
  struct Flags {
    std::vector<std::string> inputs;
    std::string out, tokenizer;
    double validation = -1;
    PrepareOptions options;
  };
  auto flags = std::make_shared<Flags>();
  Command command = program.subcommand("prepare", "Turn text into a folder of tokens to train on");
  command.footer(
      "\nFor example:\n"
      "  trireme prepare corpus/*.jsonl.zst --out data/mine --vocab-size 32000\n"
      "  trireme prepare book.txt --separator '\\n\\n\\n' --out data/book --tokenizer gpt2/tokenizer.json\n"
      "The result depends on the inputs and these options alone, not on the number of threads. Running the same "
      "command\n"
      "again does nothing.");
  command.option("INPUT", flags->inputs, "Files: JSON lines (.jsonl, .ndjson, .json) or plain text, also .gz or .zst")
      .required();
  command.option("--out", flags->out, "The folder to write; it must not hold anything else")
      .value_name("DIR")
      .required();
  const Flag vocab_size =
      command.option("--vocab-size", flags->options.vocab_size, "Train a byte-level BPE tokenizer of so many tokens")
          .value_name("N");
  command.option("--tokenizer", flags->tokenizer, "Or take this tokenizer.json")
      .value_name("FILE")
      .excludes(vocab_size);
  command
      .option("--text-field", flags->options.text_field, "Of JSON lines: the field that holds the text (default: text)")
      .value_name("NAME");
  command
      .option("--separator", flags->options.separator,
              "Of plain text: what stands between documents, \\n for a line's end (default: a file is a document)")
      .value_name("TEXT");
  command
      .option("--validation", flags->validation,
              "The fraction of documents held out for validation (default: 0.01, or none where that leaves none)")
      .value_name("FRACTION")
      .between(0.0, 1.0);
  command.option("--seed", flags->options.seed, "Of the choice of held-out documents (default: 0)").value_name("N");
  command
      .option("--end-of-document", flags->options.end_of_document,
              "The token that ends a document (default: <|endoftext|>, or what the tokenizer has instead)")
      .value_name("TOKEN");
  command.option("--threads", flags->options.threads, "Threads that tokenize (default: one a core)")
      .value_name("N")
      .between(1, 4096);
  command.runs([flags] {
    PrepareOptions options = flags->options;
    options.inputs.assign(flags->inputs.begin(), flags->inputs.end());
    options.out = flags->out;
    options.tokenizer = flags->tokenizer;
    options.separator = unescaped(options.separator);
    options.validation_may_be_empty = flags->validation < 0;
    options.validation_fraction = flags->validation < 0 ? kDefaultValidation : flags->validation;
    if (options.vocab_size == 0 && options.tokenizer.empty()) {
      throw UserError("prepare: say --vocab-size N to train a tokenizer, or --tokenizer FILE to take one");
    }
    ShownProgress progress;
    const PrepareSummary summary = prepare(options, [&](const PrepareProgress& now) { progress.show(now); });
    progress.finish();
    write_output(summary_text(summary, flags->out));
  });
}

}  // namespace trireme
