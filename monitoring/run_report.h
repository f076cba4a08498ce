// What a run says to a person should look the same wherever it is said: train, config, inspect and bench all print
// sizes, rates and tables. These are pure functions from numbers to text; nothing here prints.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace trireme {

// 0 B, 1023 B, 1.50 KiB, 23.4 GiB: three significant digits, powers of 1024.
std::string human_bytes(double bytes);
// 999, 1.23 k, 124 M, 70.6 B, 1.20 T: three significant digits, powers of 1000.
std::string human_count(double count);
// 830 us, 4.20 ms, 1.23 s, 2:05, 1:02:03, 3d 04:05. Not finite or negative: "?".
std::string human_seconds(double seconds);
// 6.25 %
std::string human_share(double fraction);
// 1,234,567
std::string exact_count(std::int64_t count);

// One step, as one line of a log:
//   step 120/1000  loss 3.4521  norm 0.87  lr 3.00e-04  12.3 k tokens/s  61.2 % of peak  ETA 12:10
// What is not set is left out. Columns keep their place from step to step.
struct StepLine {
  std::int64_t step = 0;
  std::int64_t steps = 0;  // of the whole run; 0: not known
  double loss = 0;         // nats per token
  std::optional<double> validation_loss = {};
  std::optional<double> gradient_norm = {};
  std::optional<double> learning_rate = {};
  std::optional<double> loss_scale = {};  // a power of two
  double tokens_per_second = 0;
  std::optional<double> share_of_peak = {};  // model FLOP/s over the measured GEMM peak, 0 to 1
  std::optional<double> eta_seconds = {};
  std::string remark = {};  // "skipped: ...", at the end of the line
};
std::string step_line(const StepLine& line);

// Rows of text in aligned columns.
//   Table table({"what", "bytes"}, {Align::kLeft, Align::kRight});
//   table.row({"weights", human_bytes(bytes)});
//   table.total({"sum", ...});       // below a rule
// CHECKs that every row has as many cells as the head.
enum class Align { kLeft, kRight };
class Table {
 public:
  Table(std::vector<std::string> head, std::vector<Align> align);
  void row(std::vector<std::string> cells);
  void total(std::vector<std::string> cells);
  // Lines end in '\n' and have no trailing spaces; each begins with `indent` spaces.
  std::string text(int indent = 0) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    bool rule_above = false;
  };
  std::vector<Align> align_;
  std::vector<Row> rows_;  // rows_[0] is the head
};

}  // namespace trireme
