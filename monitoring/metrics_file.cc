#include "monitoring/metrics_file.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "monitoring/check.h"
#include "monitoring/error.h"
#include "monitoring/json_text.h"
#include "monitoring/log.h"
#include "monitoring/read_file.h"

namespace trireme {
namespace {

// The step of a line (without its '\n'), or nothing if it has none.
std::optional<std::int64_t> step_of(std::string_view line) {
  constexpr std::string_view kStart = "{\"step\":";
  std::int64_t step = 0;
  if (line.starts_with(kStart) && line.ends_with('}')) {
    const auto [end, error] = std::from_chars(line.data() + kStart.size(), line.data() + line.size(), step);
    if (error == std::errc() && (*end == ',' || *end == '}')) return step;
  }
  const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) return std::nullopt;
  return json["step"].get<std::int64_t>();
}

struct Cut {
  std::size_t bytes = 0;           // to keep
  std::int64_t lines_dropped = 0;  // whole ones
  std::int64_t damaged = 0;        // among those kept
};
Cut cut_after(std::string_view text, std::int64_t step) {
  Cut cut;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == text.npos) break;
    const auto here = step_of(text.substr(begin, end - begin));
    if (here && *here > step) {
      cut.lines_dropped = std::count(text.begin() + static_cast<std::ptrdiff_t>(begin), text.end(), '\n');
      break;
    }
    if (!here) ++cut.damaged;
    cut.bytes = begin = end + 1;
  }
  return cut;
}

constexpr std::size_t kMaxBytes = std::size_t{8} << 30;  // tens of millions of steps

std::string read_lines(const std::filesystem::path& path) {
  return read_file(path, kMaxBytes, "Is it the metrics of a run?");
}

std::optional<double> number_in_words(const std::string& text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

}  // namespace

MetricsRecord::MetricsRecord(std::int64_t step) : text_(fmt::format("{{\"step\":{}", step)) {}

void MetricsRecord::begin_field(std::string_view name) { text_ += fmt::format(",{}:", json_quoted(name)); }

MetricsRecord& MetricsRecord::add(std::string_view name, double value) {
  begin_field(name);
  text_ += json_number(value);
  return *this;
}
MetricsRecord& MetricsRecord::add(std::string_view name, float value) {
  begin_field(name);
  text_ += json_number(value);
  return *this;
}
MetricsRecord& MetricsRecord::add(std::string_view name, std::int64_t value) {
  begin_field(name);
  text_ += std::to_string(value);
  return *this;
}
MetricsRecord& MetricsRecord::add(std::string_view name, std::string_view text) {
  begin_field(name);
  text_ += json_quoted(text);
  return *this;
}

std::string MetricsRecord::line() const { return text_ + "}\n"; }

MetricsFile::MetricsFile(std::filesystem::path path) : path_(std::move(path)) {
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0)
    throw UserError(fmt::format("cannot write {}: {}. Choose a run folder that may be written.", path_.string(),
                                std::strerror(errno)));
  // The last '\n', from behind: lines are short, and the file may be long.
  const off_t end = ::lseek(file_, 0, SEEK_END);
  size_ = 0;
  char block[4096];
  for (off_t at = end; at > 0 && size_ == 0;) {
    const off_t begin = std::max<off_t>(0, at - static_cast<off_t>(sizeof block));
    const ssize_t bytes = ::pread(file_, block, static_cast<std::size_t>(at - begin), begin);
    if (bytes != at - begin) {
      const std::string reason = bytes < 0 ? std::strerror(errno) : "it shrank while it was read";
      ::close(file_);
      throw UserError(fmt::format("cannot read {}: {}.", path_.string(), reason));
    }
    const std::size_t newline = std::string_view(block, static_cast<std::size_t>(bytes)).rfind('\n');
    if (newline != std::string_view::npos) size_ = begin + static_cast<std::int64_t>(newline) + 1;
    at = begin;
  }
  if (size_ < end && ::ftruncate(file_, size_) != 0)
    log_warning("{}: cannot cut off its torn last line: {}", path_.string(), std::strerror(errno));
}

MetricsFile::~MetricsFile() {
  write_waiting();
  ::close(file_);
}

void MetricsFile::append(const MetricsRecord& record) {
  waiting_ += record.line();
  write_waiting();
}

void MetricsFile::write_waiting() {
  if (waiting_.empty()) return;
  ssize_t written = 0;
  do {
    written = ::write(file_, waiting_.data(), waiting_.size());
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(waiting_.size())) {
    size_ += written;
    waiting_.clear();
    if (warned_) log_info("{}: can be written again", path_.string());
    warned_ = false;
    return;
  }
  const std::string reason = written < 0 ? std::strerror(errno) : "no room for the whole line";
  const bool whole_again = written <= 0 || ::ftruncate(file_, size_) == 0;
  if (!whole_again) {  // What was torn off stays; the rest of it must follow.
    size_ += written;
    waiting_.erase(0, static_cast<std::size_t>(written));
  }
  if (!warned_)
    log_warning("{}: cannot be written: {}. Training goes on; its lines wait, and are lost beyond {} bytes.",
                path_.string(), reason, kMaxWaitingBytes);
  warned_ = true;
  if (waiting_.size() > kMaxWaitingBytes) {
    const std::size_t first_kept = waiting_.find('\n', waiting_.size() - kMaxWaitingBytes);
    waiting_.erase(whole_again ? 0 : waiting_.find('\n') + 1, first_kept + 1);
  }
}

std::int64_t MetricsFile::truncate_after(std::int64_t step) {
  const std::string text = read_lines(path_);
  const Cut in_file = cut_after(text, step);
  if (in_file.damaged > 0)
    log_warning("{}: {} of its lines cannot be read; they are left as they are", path_.string(), in_file.damaged);
  if (in_file.bytes < text.size() && ::ftruncate(file_, static_cast<off_t>(in_file.bytes)) != 0)
    throw UserError(fmt::format("cannot cut {} back to step {}: {}. Make it writable, or move it away.", path_.string(),
                                step, std::strerror(errno)));
  size_ = static_cast<std::int64_t>(in_file.bytes);
  const Cut in_wait = cut_after(waiting_, step);
  waiting_.erase(in_wait.bytes);
  return in_file.lines_dropped + in_wait.lines_dropped;
}

bool MetricsFile::sync() {
  write_waiting();
  if (waiting_.empty() && ::fdatasync(file_) == 0) return true;
  if (waiting_.empty()) log_warning("{}: cannot be made durable: {}", path_.string(), std::strerror(errno));
  return false;
}

std::optional<double> MetricsRow::number(std::string_view name) const {
  for (const auto& [key, value] : numbers)
    if (key == name) return value;
  return std::nullopt;
}

MetricsRows read_metrics(const std::filesystem::path& path) {
  const std::string text = read_lines(path);
  MetricsRows result;
  std::int64_t line_number = 0;
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1) {
    ++line_number;
    const auto json =
        nlohmann::ordered_json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                      text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, /*exceptions=*/false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) {
      result.problems.push_back(fmt::format("{}:{}: {}", path.string(), line_number,
                                            json.is_object() ? "no whole-numbered \"step\"" : "not a JSON object"));
      continue;
    }
    MetricsRow& row = result.rows.emplace_back();
    row.step = json["step"].get<std::int64_t>();
    for (const auto& [key, value] : json.items()) {
      if (value.is_number()) row.numbers.emplace_back(key, value.get<double>());
      if (value.is_boolean()) row.numbers.emplace_back(key, value.get<bool>() ? 1 : 0);
      if (!value.is_string()) continue;
      const auto& words = value.get_ref<const std::string&>();
      if (const auto number = number_in_words(words))
        row.numbers.emplace_back(key, *number);
      else
        row.texts.emplace_back(key, words);
    }
  }
  return result;
}

}  // namespace trireme
