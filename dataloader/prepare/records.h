// A corpus is one long list of documents, whatever files it lies in. A RecordReader walks the inputs in the order given
// and cuts them into raw records (a line of JSON, a part between separators, a whole file) without looking inside, so
// that one thread can feed many. Each record knows the file and line where it begins, for messages.
//
// A record's index, its place among all records of all inputs, is what decides to which split it belongs. Records that
// are empty (blank lines; nothing between two separators) do not count. Holds at most one record and one batch.
// One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dataloader/prepare/byte_source.h"

namespace trireme {

struct RecordOptions {
  std::string separator;             // of plain text; empty: a file is a document
  std::size_t max_record_bytes = 0;  // a longer one is refused, by its place
};

enum class RecordKind { kJsonLine, kText };
// By the name, compression aside: .jsonl, .ndjson and .json are JSON lines, all others text.
RecordKind record_kind(const std::filesystem::path& input);

// Records of one input that stand one after another.
struct RecordBatch {
  struct Record {
    std::size_t begin = 0;  // in `bytes`
    std::size_t end = 0;
    std::uint64_t line = 0;  // counted from 1
  };
  std::string_view text(const Record& record) const {
    return std::string_view(bytes).substr(record.begin, record.end - record.begin);
  }

  const std::filesystem::path* input = nullptr;
  RecordKind kind = RecordKind::kText;
  std::uint64_t first_index = 0;  // of records[0]
  std::vector<Record> records;
  std::string bytes;
  std::uint64_t input_bytes_read = 0;  // on the disk, of all inputs so far
};

class RecordReader {
 public:
  // `inputs` must outlive the reader and its batches.
  RecordReader(const std::vector<std::filesystem::path>& inputs, RecordOptions options);

  // The next about 1 MiB of records (or one longer record); false when there are no more.
  // Throws UserError (an input cannot be read, a record is too long) or DamagedDataError.
  bool next(RecordBatch& batch);

  // XXH3-128 of each input file, in order; only after next() has returned false.
  const std::vector<std::string>& digests() const { return digests_; }

 private:
  bool next_input();
  bool more_text();
  void take(std::size_t end, std::size_t skip, RecordBatch& batch);

  const std::vector<std::filesystem::path>& inputs_;
  RecordOptions options_;
  std::size_t input_ = 0;  // index of the next input to open
  std::unique_ptr<ByteSource> source_;
  RecordKind kind_ = RecordKind::kText;
  std::string delimiter_;
  std::string buffer_;  // text read and not yet in a record starts at at_
  std::size_t at_ = 0;
  std::size_t searched_ = 0;  // no delimiter starts in [at_, searched_)
  bool source_ended_ = false;
  std::uint64_t line_ = 1;
  std::uint64_t index_ = 0;
  std::uint64_t earlier_bytes_ = 0;  // of inputs that are done
  std::vector<std::string> digests_;
};

}  // namespace trireme
