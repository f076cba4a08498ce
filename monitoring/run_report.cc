#include "monitoring/run_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "monitoring/check.h"

namespace trireme {
namespace {

// Three significant digits, and never "1e+03". `value` is below 1000 or so.
std::string three_digits(double value) {
  if (value >= 99.95) return fmt::format("{:.0f}", value);
  if (value >= 9.995) return fmt::format("{:.1f}", value);
  return fmt::format("{:.2f}", value);
}

std::size_t columns_of(std::string_view text) {  // code points: continuation bytes take no column
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

std::string human_bytes(double bytes) {
  if (!std::isfinite(bytes)) return "?";
  if (bytes < 0) return fmt::format("-{}", human_bytes(-bytes));
  if (bytes < 1023.5) return fmt::format("{:.0f} B", bytes);
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  double value = bytes / 1024;
  for (; value >= 1023.5 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return three_digits(value) + " " + kUnits[unit];
}

std::string human_count(double count) {
  if (!std::isfinite(count)) return "?";
  if (count < 0) return fmt::format("-{}", human_count(-count));
  if (count < 999.5) return count == std::floor(count) ? fmt::format("{:.0f}", count) : three_digits(count);
  static constexpr const char* kUnits[] = {"k", "M", "B", "T"};
  std::size_t unit = 0;
  double value = count / 1000;
  for (; value >= 999.5 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  if (value >= 999.5) return fmt::format("{:.2e}", count);
  return three_digits(value) + " " + kUnits[unit];
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  if (seconds == 0) return "0 s";
  if (seconds < 0.9995e-6) return three_digits(seconds * 1e9) + " ns";
  if (seconds < 0.9995e-3) return three_digits(seconds * 1e6) + " us";
  if (seconds < 0.9995) return three_digits(seconds * 1e3) + " ms";
  if (seconds < 59.95) return three_digits(seconds) + " s";
  if (seconds > 1e12) return "?";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  const std::int64_t days = whole / 86400, hours = whole / 3600 % 24, minutes = whole / 60 % 60, rest = whole % 60;
  if (days > 0) return fmt::format("{}d {:02}:{:02}", days, hours, minutes);
  if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, rest);
  return fmt::format("{}:{:02}", minutes, rest);
}

std::string human_share(double fraction) {
  if (!std::isfinite(fraction)) return "?";
  return fmt::format("{}{} %", fraction < 0 ? "-" : "", three_digits(std::fabs(fraction) * 100));
}

std::string exact_count(std::int64_t count) {
  std::string digits = std::to_string(count);
  const std::size_t sign = count < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > sign + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

std::string step_line(const StepLine& line) {
  std::string text;
  if (line.steps > 0) {
    const std::string steps = std::to_string(line.steps);
    text = fmt::format("step {:>{}}/{}", line.step, steps.size(), steps);
  } else {
    text = fmt::format("step {:>6}", line.step);
  }
  text += fmt::format("  loss {:7.4f}", line.loss);
  if (line.gradient_norm) text += fmt::format("  norm {:6.3f}", *line.gradient_norm);
  if (line.learning_rate) text += fmt::format("  lr {:.2e}", *line.learning_rate);
  if (line.loss_scale) text += fmt::format("  scale 2^{:<2g}", std::log2(*line.loss_scale));
  text += fmt::format("  {:>6} tokens/s", human_count(line.tokens_per_second));
  if (line.share_of_peak) text += fmt::format("  {:>6} of peak", human_share(*line.share_of_peak));
  if (line.eta_seconds) {
    // The seconds of an estimate are whole: what changes from line to line should mean something.
    const double eta = *line.eta_seconds;
    text += "  ETA " + (eta >= 0 && eta < 59.5 ? fmt::format("{:.0f} s", eta) : human_seconds(std::round(eta)));
  }
  if (line.validation_loss) text += fmt::format("  validation {:.4f}", *line.validation_loss);
  if (!line.remark.empty()) text += "  " + line.remark;
  return text;
}

Table::Table(std::vector<std::string> head, std::vector<Align> align) : align_(std::move(align)) {
  CHECK(head.size() == align_.size(), head.size(), " headings, ", align_.size(), " alignments");
  rows_.push_back({std::move(head), false});
}

void Table::row(std::vector<std::string> cells) {
  CHECK(cells.size() == align_.size(), cells.size(), " cells in a table of ", align_.size(), " columns");
  rows_.push_back({std::move(cells), rows_.size() == 1});
}

void Table::total(std::vector<std::string> cells) {
  row(std::move(cells));
  rows_.back().rule_above = true;
}

std::string Table::text(int indent) const {
  std::vector<std::size_t> widths(align_.size(), 0);
  for (const Row& row : rows_)
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], columns_of(row.cells[i]));
  const std::string margin(static_cast<std::size_t>(indent), ' ');
  std::string text;
  for (const Row& row : rows_) {
    if (row.rule_above) {
      text += margin;
      for (std::size_t i = 0; i < widths.size(); ++i) text += std::string(i ? 2 : 0, ' ') + std::string(widths[i], '-');
      text += '\n';
    }
    std::string line = margin;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string padding(widths[i] - columns_of(row.cells[i]), ' ');
      line += std::string(i ? 2 : 0, ' ');
      line += align_[i] == Align::kLeft ? row.cells[i] + padding : padding + row.cells[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

}  // namespace trireme
