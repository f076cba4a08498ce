#include "monitoring/log.h"

#include <atomic>
#include <cstdlib>
#include <mutex>

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "monitoring/check.h"
#include "monitoring/log_bar.h"

namespace trireme {
namespace {

void write_whole(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;  // nobody listens any more: a log is no reason to stop
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// Lines, and at most one bar below them. The bar's text is kept, so that it can be drawn again after a line.
class BarSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  BarSink() { aim(nullptr, LogTerminal::kDetect); }

  void aim(std::FILE* stream, LogTerminal terminal) {
    const std::lock_guard lock(mutex_);
    stream_ = stream ? stream : stderr;
    terminal_ = terminal == LogTerminal::kDetect ? ::isatty(::fileno(stream_)) == 1 : terminal == LogTerminal::kYes;
    const char* no_color = std::getenv("NO_COLOR");
    colours_ = terminal_ && !(no_color && *no_color);
    bar_.clear();
  }

  bool terminal() {
    const std::lock_guard lock(mutex_);
    return terminal_;
  }

  int columns() {
    const std::lock_guard lock(mutex_);
    winsize size{};
    return ::ioctl(::fileno(stream_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
  }

  void show_bar(std::string_view text) {
    const std::lock_guard lock(mutex_);
    if (!terminal_ || (text.empty() && bar_.empty())) return;
    bar_ = text;
    std::fflush(stream_);
    write_whole(::fileno(stream_), kClear + bar_);
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t formatted;
    formatter_->format(message, formatted);
    const std::string_view line(formatted.data(), formatted.size());
    std::string text;
    if (!bar_.empty()) text += kClear;
    const char* colour = message.level >= spdlog::level::err ? "\033[31m" : "\033[33m";
    if (colours_ && message.level >= spdlog::level::warn && message.color_range_end > message.color_range_start) {
      text += line.substr(0, message.color_range_start);
      text += colour;
      text += line.substr(message.color_range_start, message.color_range_end - message.color_range_start);
      text += "\033[0m";
      text += line.substr(message.color_range_end);
    } else {
      text += line;
    }
    text += bar_;
    std::fflush(stream_);
    write_whole(::fileno(stream_), text);
  }
  void flush_() override {}

  inline static const std::string kClear = "\r\033[K";
  std::FILE* stream_ = stderr;
  bool terminal_ = false, colours_ = false;
  std::string bar_;
};

struct Log {
  std::shared_ptr<BarSink> sink = std::make_shared<BarSink>();
  spdlog::logger logger{"trireme", sink};
  std::atomic<int> ranks{1};
  std::atomic<LogLevel> level{LogLevel::kInfo}, other_ranks{LogLevel::kWarning};

  Log() {
    logger.set_level(spdlog::level::trace);
    logger.set_pattern("%T %^%v%$");
  }
};

// One for the process, as stderr is. Never destroyed: destructors of statics may still log.
Log& process_log() {
  static Log* const log = new Log;
  return *log;
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

}  // namespace

void configure_log(const LogOptions& options) {
  Log& log = process_log();
  log.ranks = options.ranks;
  log.level = options.level;
  log.other_ranks = options.other_ranks;
  log.sink->aim(options.stream, options.terminal);
}

bool log_enabled(LogLevel level) {
  const Log& log = process_log();
  return level >= log.level && (whereabouts().rank <= 0 || level >= log.other_ranks);
}

void log_line(LogLevel level, std::string_view text) {
  if (!log_enabled(level)) return;
  Log& log = process_log();
  const int rank = whereabouts().rank;
  std::string line;
  if (log.ranks > 1 && rank >= 0) line += fmt::format("[rank {}] ", rank);
  if (level == LogLevel::kDebug) line += "debug: ";
  if (level == LogLevel::kWarning) line += "warning: ";
  if (level == LogLevel::kError) line += "error: ";
  line += text;
  log.logger.log(spdlog_level(level), line);
}

namespace log_bar {

bool on_terminal() { return process_log().sink->terminal(); }
int columns() { return process_log().sink->columns(); }
void show(std::string_view text) { process_log().sink->show_bar(text); }

}  // namespace log_bar
}  // namespace trireme
