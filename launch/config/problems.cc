#include "launch/config/problems.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <numeric>

#include "monitoring/error.h"

namespace trireme {
namespace {

constexpr std::size_t kMaxLinesShown = 50;
constexpr std::size_t kMaxQuotedBytes = 60;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c == '-' ? '_' : c; }

// Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours. Case and - or _ are ignored.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), now(b.size() + 1);
  std::iota(last.begin(), last.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    now[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1])) {
        now[j] = std::min(now[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(now);
  }
  return last[b.size()];
}

// Line and column of "run.yaml:3:5"; what has none (--set, a whole file) comes after what has.
std::pair<int, int> place_of(const std::string& location) {
  const std::size_t second = location.rfind(':');
  const std::size_t first =
      second == std::string::npos || second == 0 ? std::string::npos : location.rfind(':', second - 1);
  int line = 0, column = 0;
  if (first == std::string::npos || location.starts_with("--set ") ||
      std::sscanf(location.c_str() + first, ":%9d:%9d", &line, &column) != 2) {
    return {std::numeric_limits<int>::max(), 0};
  }
  return {line, column};
}

}  // namespace

std::vector<std::string> Problems::lines() const {
  std::vector<Line> sorted = lines_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Line& a, const Line& b) { return a.place < b.place; });
  std::vector<std::string> lines;
  for (const Line& line : sorted) lines.push_back(line.text);
  return lines;
}

void Problems::add(const std::string& location, const std::string& path, const std::string& reason) {
  lines_.push_back({place_of(location), location + ": " + (path.empty() ? "" : path + ": ") + reason});
  if (!path.empty()) paths_.insert(path);
}

bool Problems::concerns(std::string_view path) const {
  for (;;) {
    if (paths_.contains(path)) return true;
    const std::size_t dot = path.rfind('.');
    if (dot == std::string_view::npos) return false;
    path = path.substr(0, dot);
  }
}

void Problems::throw_if_any() const {
  if (lines_.empty()) return;
  const std::vector<std::string> all = lines();
  if (all.size() == 1) throw UserError(all[0]);
  std::string message = "the configuration has " + std::to_string(all.size()) + " problems:";
  for (std::size_t i = 0; i < std::min(all.size(), kMaxLinesShown); ++i) message += "\n  " + all[i];
  if (all.size() > kMaxLinesShown) message += "\n  ... and " + std::to_string(all.size() - kMaxLinesShown) + " more";
  throw UserError(message);
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& valid) {
  if (name.size() > 64) return "";
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : valid) {
    const std::size_t distance = edit_distance(name, candidate);
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  if (!best.empty() || name.size() < 3) return best;
  for (const std::string& candidate : valid) {  // "lr_warmup" is near nothing, but "warmup" is the start of one
    if (candidate.starts_with(name)) return candidate;
  }
  return "";
}

std::string quote_text(std::string_view text) {
  std::string out = "\"";
  std::size_t end = std::min(text.size(), kMaxQuotedBytes);
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  for (char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned>(byte));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + (end < text.size() ? "...\"" : "\"");
}

}  // namespace trireme
