// RUN/metrics.jsonl is what scripts, `trireme plot` and the tests of resumption read: one JSON object a step, in order.
// It must survive being killed at any instant, lose or change no bit of a float, and after a resumption hold each step
// once.
//
// - A line is written with one write(2), whole or not at all. What a crash tore off at the end is cut off when the
//   file is opened, and readers pass over it.
// - Numbers are in the shortest form that reads back to the same bits (of a float if a float was given). JSON has no
//   NaN and no infinity: they are the strings "NaN", "Infinity", "-Infinity", and the reader makes numbers of them
//   again.
// - Fields keep the order in which they were added; "step" comes first.
// - A full disk does not end a run: lines that cannot be written wait (up to kMaxWaitingBytes) for the next append,
//   and a warning is logged once.
//
// One writer at a time: rank 0's loop owns it. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme {

// {"step":12,"loss":3.25,...} Names are not checked for duplicates: do not add one twice.
class MetricsRecord {
 public:
  explicit MetricsRecord(std::int64_t step);
  MetricsRecord& add(std::string_view name, double value);
  MetricsRecord& add(std::string_view name, float value);
  MetricsRecord& add(std::string_view name, std::int64_t value);
  MetricsRecord& add(std::string_view name, int value) { return add(name, std::int64_t{value}); }
  MetricsRecord& add(std::string_view name, std::string_view text);
  MetricsRecord& add(std::string_view name, const char* text) { return add(name, std::string_view(text)); }

  std::string line() const;  // with its '\n'

 private:
  void begin_field(std::string_view name);
  std::string text_;
};

class MetricsFile {
 public:
  static constexpr std::size_t kMaxWaitingBytes = 1 << 20;

  // Opens to append; makes the file if there is none. Throws UserError if that fails.
  explicit MetricsFile(std::filesystem::path path);
  ~MetricsFile();
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  void append(const MetricsRecord& record);

  // Drops every line after `step`: from the first line with a greater step on. For resumption. Lines before that
  // which do not parse stay, with a warning. Returns the number of lines dropped.
  std::int64_t truncate_after(std::int64_t step);

  // Returns when all lines are on the disk. Before a checkpoint commits, so that a crash cannot keep the checkpoint and
  // lose the lines that lead to it. False (and a warning) if the disk refuses.
  bool sync();

 private:
  void write_waiting();

  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t size_ = 0;  // whole lines on the file
  std::string waiting_;    // lines not yet written
  bool warned_ = false;
};

// A line as read back.
struct MetricsRow {
  std::int64_t step = 0;
  std::vector<std::pair<std::string, double>> numbers;     // "step" among them; true and false as 1 and 0
  std::vector<std::pair<std::string, std::string>> texts;  // strings that are no numbers

  std::optional<double> number(std::string_view name) const;
};

struct MetricsRows {
  std::vector<MetricsRow> rows;
  std::vector<std::string> problems;  // "RUN/metrics.jsonl:12: not a JSON object": lines that were passed over
};
// A last line without its end is no problem (a run may be writing it) and is left out. Throws UserError if the file
// cannot be read.
MetricsRows read_metrics(const std::filesystem::path& path);

}  // namespace trireme
