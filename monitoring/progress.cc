#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>

#include "monitoring/check.h"
#include "monitoring/log.h"
#include "monitoring/log_bar.h"
#include "monitoring/run_report.h"

namespace trireme {
namespace {

constexpr double kRedrawSeconds = 0.1;

std::string amount(double value, ProgressUnit unit) {
  return unit == ProgressUnit::kBytes ? human_bytes(value) : human_count(value);
}

double share_done(const ProgressView& view) { return std::clamp(view.done / view.total, 0.0, 1.0); }

// "1.20 GiB of 2.30 GiB  35.2 MiB/s  ETA 0:31  note"
std::string figures(const ProgressView& view) {
  std::string text = amount(view.done, view.unit);
  if (view.total > 0) text += " of " + amount(view.total, view.unit);
  const double here = view.done - view.already_done;
  if (here > 0 && view.seconds > 0) {
    const double rate = here / view.seconds;
    text += "  " + amount(rate, view.unit) + "/s";
    if (view.total > view.done) {
      const double left = (view.total - view.done) / rate;
      text += "  ETA " + (left < 59.5 ? fmt::format("{:.0f} s", left) : human_seconds(std::round(left)));
    }
  }
  if (!view.note.empty()) text += "  " + view.note;
  return text;
}

// Cuts after `columns` code points.
std::string cut(std::string text, int columns) {
  int seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (seen++ == columns) return text.substr(0, i);
  }
  return text;
}

}  // namespace

std::string progress_line(const ProgressView& view) {
  std::string text = view.what + ": ";
  if (view.total > 0) text += fmt::format("{:.0f} %  ", std::floor(100 * share_done(view)));
  return text + figures(view);
}

std::string progress_bar(const ProgressView& view, int columns) {
  constexpr int kWidest = 30, kNarrowest = 8;
  if (!(view.total > 0)) return cut(progress_line(view), columns);
  const std::string tail = fmt::format(" {:3.0f} %  ", std::floor(100 * share_done(view))) + figures(view);
  const int room = columns - static_cast<int>(view.what.size() + tail.size()) - 3;
  if (room < kNarrowest) return cut(progress_line(view), columns);
  const int width = std::min(room, kWidest), full = static_cast<int>(std::floor(width * share_done(view)));
  return cut(view.what + " [" + std::string(static_cast<std::size_t>(full), '#') +
                 std::string(static_cast<std::size_t>(width - full), '-') + "]" + tail,
             columns);
}

struct Progress::State {
  using Clock = std::chrono::steady_clock;

  const ProgressOptions options;
  const bool silent = whereabouts().rank > 0;
  const Clock::time_point start = Clock::now();
  std::mutex mutex;
  ProgressView view;             // guarded by mutex
  double next_draw_seconds = 0;  // guarded by mutex; since start
  bool drawn = false, finished = false;

  double now() const { return std::chrono::duration<double>(Clock::now() - start).count(); }

  void take_away() {
    if (drawn) log_bar::show("");
    drawn = false;
  }
};

Progress::Progress(std::string what, double total, ProgressOptions options)
    : state_(new State{.options = options, .mutex = {}, .view = {}}) {
  state_->view = {.what = std::move(what),
                  .note = "",
                  .done = options.already_done,
                  .total = total,
                  .already_done = options.already_done,
                  .seconds = 0,
                  .unit = options.unit};
  if (!log_bar::on_terminal()) state_->next_draw_seconds = options.plain_seconds;
}

Progress::~Progress() { state_->take_away(); }

void Progress::update(double done, std::string_view note) {
  State& state = *state_;
  if (state.silent) return;
  const std::lock_guard lock(state.mutex);
  state.view.done = done;
  state.view.note = note;
  const double now = state.now();
  if (now < state.next_draw_seconds || state.finished) return;
  state.view.seconds = now;
  if (log_bar::on_terminal()) {
    state.next_draw_seconds = now + kRedrawSeconds;
    log_bar::show(progress_bar(state.view, log_bar::columns() - 1));
    state.drawn = true;
  } else {
    state.next_draw_seconds = now + state.options.plain_seconds;
    log_line(LogLevel::kInfo, progress_line(state.view));
  }
}

void Progress::finish() {
  State& state = *state_;
  if (state.silent) return;
  const std::lock_guard lock(state.mutex);
  if (state.finished) return;
  state.finished = true;
  state.take_away();
  const double seconds = state.now(), here = state.view.done - state.view.already_done;
  std::string text =
      state.view.what + ": " + amount(state.view.done, state.view.unit) + " in " + human_seconds(seconds);
  if (here > 0 && seconds > 0) text += " (" + amount(here / seconds, state.view.unit) + "/s)";
  log_line(LogLevel::kInfo, text);
}

}  // namespace trireme
