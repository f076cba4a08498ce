// A person watches a run on a terminal, or reads its log next week. Both need to know which rank speaks, and neither
// wants every line once per rank; and a progress bar must not tear the lines that are printed beside it. So there is
// one log for a process (stderr is one for a process): rank 0 alone says what is informative, any rank may warn, and
// the bar is taken away before a line and drawn again after it.
//
// - Who speaks is whereabouts().rank of the calling thread (monitoring/check.h), so ranks that are threads work too.
// - Lines are "12:03:04 [rank 1] warning: text"; the rank stands there only when there is more than one, "warning: "
//   only where it is true. Colours, and the bar that redraws itself, only on a terminal (and no colours with NO_COLOR).
// - Every function may be called from any thread. A line is written whole, with one write.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace trireme {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

enum class LogTerminal { kDetect, kYes, kNo };  // kDetect: isatty(stream)

struct LogOptions {
  int ranks = 1;                                // of the run; more than one puts the rank into each line
  LogLevel level = LogLevel::kInfo;             // lines below it are dropped
  LogLevel other_ranks = LogLevel::kWarning;    // the same, for every rank but 0
  std::FILE* stream = nullptr;                  // nullptr: stderr. Not owned; must outlive the log's use
  LogTerminal terminal = LogTerminal::kDetect;  // whether `stream` redraws and colours
};

// Until it is called, and for every field left out, the defaults above hold.
void configure_log(const LogOptions& options);

// Whether a line of this level from the calling thread would be printed.
bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view text);

// log_info("resumed from step {}", step)
template <class... Args>
void log_debug(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kDebug)) log_line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kInfo)) log_line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kWarning)) log_line(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_error(fmt::format_string<Args...> format, Args&&... args) {
  if (log_enabled(LogLevel::kError)) log_line(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
}

enum class ProgressUnit { kCount, kBytes };

struct ProgressOptions {
  ProgressUnit unit = ProgressUnit::kCount;
  double plain_seconds = 10;  // without a terminal: a line this often. Infinity: none, for who logs lines of their own
  double already_done = 0;    // done before this process began (a resumed run): left out of the rate
};

// How far a long job is: a bar with an estimate of what is left on a terminal, a line now and then in a log.
//   Progress progress("tokenizing", total_bytes, {.unit = ProgressUnit::kBytes});
//   progress.update(done_bytes);
// `total` 0 means not known. update() may be called from any thread, as often as one likes: it draws ten times a second
// at most. Ranks other than 0 draw nothing. One bar is shown at a time: the one updated last.
class Progress {
 public:
  Progress(std::string what, double total, ProgressOptions options = {});
  ~Progress();  // takes the bar away, saying nothing more
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(double done, std::string_view note = "");
  // Takes the bar away and logs one line: what was done, and in what time.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What Progress shows, at most `columns` wide; exposed for tests. Pure.
struct ProgressView {
  std::string what = {}, note = {};
  double done = 0, total = 0, already_done = 0, seconds = 0;  // total 0: not known
  ProgressUnit unit = ProgressUnit::kCount;
};
std::string progress_bar(const ProgressView& view, int columns);  // "tokenizing [####----] 52%  1.2 GiB of 2.3 GiB ..."
std::string progress_line(const ProgressView& view);              // the same without a bar

}  // namespace trireme
