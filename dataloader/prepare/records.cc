#include "dataloader/prepare/records.h"

#include <algorithm>

#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

constexpr std::size_t kReadBytes = std::size_t{1} << 20;
constexpr std::size_t kBatchBytes = std::size_t{1} << 20;
constexpr std::size_t kBatchRecords = 4096;

}  // namespace

RecordKind record_kind(const std::filesystem::path& input) {
  const std::filesystem::path ending = without_compression(input).extension();
  const bool json = ending == ".jsonl" || ending == ".ndjson" || ending == ".json";
  return json ? RecordKind::kJsonLine : RecordKind::kText;
}

RecordReader::RecordReader(const std::vector<std::filesystem::path>& inputs, RecordOptions options)
    : inputs_(inputs), options_(std::move(options)) {
  CHECK(options_.max_record_bytes > 0, "no room for a record");
}

bool RecordReader::next_input() {
  if (source_ != nullptr) {
    digests_.push_back(source_->file_digest());
    earlier_bytes_ += source_->file_bytes_read();
    source_.reset();
  }
  if (input_ == inputs_.size()) return false;
  source_ = ByteSource::open(inputs_[input_]);
  kind_ = record_kind(inputs_[input_]);
  delimiter_ = kind_ == RecordKind::kJsonLine ? "\n" : options_.separator;
  ++input_;
  buffer_.clear();
  at_ = searched_ = 0;
  line_ = 1;
  source_ended_ = false;
  while (buffer_.size() < 3 && !source_ended_) source_ended_ = !more_text();
  if (buffer_.starts_with("\xEF\xBB\xBF")) at_ = searched_ = 3;  // a byte order mark is not text
  if (buffer_.starts_with("\xFF\xFE") || buffer_.starts_with("\xFE\xFF")) {
    throw UserError(inputs_[input_ - 1].string() + " is UTF-16; convert it: iconv -f UTF-16 -t UTF-8");
  }
  return true;
}

// Reads on; false at the end of the input.
bool RecordReader::more_text() {
  buffer_.erase(0, at_);
  searched_ -= at_;
  at_ = 0;
  const std::size_t before = buffer_.size();
  buffer_.resize(before + kReadBytes);
  const std::size_t count = source_->read(std::span(buffer_).subspan(before));
  buffer_.resize(before + count);
  return count > 0;
}

// Moves buffer_[at_, end) into the batch as a record, unless it is empty, and steps over it and `skip` bytes.
void RecordReader::take(std::size_t end, std::size_t skip, RecordBatch& batch) {
  const std::string_view record = std::string_view(buffer_).substr(at_, end - at_);
  if (record.size() > options_.max_record_bytes) {
    throw UserError(inputs_[input_ - 1].string() + ":" + std::to_string(line_) +
                    ": the document that begins here has more than " + std::to_string(options_.max_record_bytes) +
                    " bytes; split it, or name the separator between documents");
  }
  const bool empty =
      kind_ == RecordKind::kJsonLine ? record.find_first_not_of(" \t\r") == std::string_view::npos : record.empty();
  if (!empty) {
    batch.records.push_back({batch.bytes.size(), batch.bytes.size() + record.size(), line_});
    batch.bytes += record;
    ++index_;
  }
  const auto begin = buffer_.begin() + static_cast<std::ptrdiff_t>(at_);
  line_ +=
      static_cast<std::uint64_t>(std::count(begin, begin + static_cast<std::ptrdiff_t>(record.size() + skip), '\n'));
  at_ = searched_ = end + skip;
}

bool RecordReader::next(RecordBatch& batch) {
  batch.records.clear();
  batch.bytes.clear();
  while (batch.records.empty()) {
    if (source_ == nullptr && !next_input()) return false;
    batch.input = &inputs_[input_ - 1];
    batch.kind = kind_;
    batch.first_index = index_;
    while (batch.bytes.size() < kBatchBytes && batch.records.size() < kBatchRecords) {
      const std::size_t found = delimiter_.empty() ? std::string::npos : buffer_.find(delimiter_, searched_);
      if (found != std::string::npos) {
        take(found, delimiter_.size(), batch);
        continue;
      }
      if (source_ended_) {
        take(buffer_.size(), 0, batch);
        batch.input_bytes_read = earlier_bytes_ + source_->file_bytes_read();
        if (!next_input()) return !batch.records.empty();
        break;
      }
      // A delimiter may lie across this block and the next.
      if (buffer_.size() >= delimiter_.size() && !delimiter_.empty()) {
        searched_ = std::max(searched_, buffer_.size() - (delimiter_.size() - 1));
      }
      if (buffer_.size() - at_ > options_.max_record_bytes + delimiter_.size()) take(buffer_.size(), 0, batch);
      source_ended_ = !more_text();
    }
    if (source_ != nullptr && batch.input == &inputs_[input_ - 1]) {
      batch.input_bytes_read = earlier_bytes_ + source_->file_bytes_read();
    }
  }
  return true;
}

}  // namespace trireme
