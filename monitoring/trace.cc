#include "monitoring/trace.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "monitoring/check.h"
#include "monitoring/error.h"
#include "monitoring/json_text.h"
#include "monitoring/read_file.h"

namespace trireme {
namespace {

constexpr std::size_t kMaxTraceBytes = std::size_t{1} << 30;

template <class Clock>
std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}
std::int64_t steady_ns() { return now_ns<std::chrono::steady_clock>(); }

struct Stored {
  std::int64_t step, begin_ns, end_ns;
  std::uint8_t name_bytes;
  char name[Trace::kNameBytes];
};
static_assert(sizeof(Stored) == 96);

using Interval = std::pair<std::int64_t, std::int64_t>;

// The times at which the track was busy: disjoint, in order.
std::vector<Interval> busy(const std::vector<TraceEvent>& events, std::string_view track) {
  std::vector<Interval> spans;
  for (const TraceEvent& event : events)
    if (event.track == track) spans.emplace_back(event.begin_ns, event.end_ns);
  std::sort(spans.begin(), spans.end());
  std::vector<Interval> merged;
  for (const Interval& span : spans) {
    if (!merged.empty() && span.first <= merged.back().second)
      merged.back().second = std::max(merged.back().second, span.second);
    else
      merged.push_back(span);
  }
  return merged;
}

}  // namespace

struct Trace::Ring {
  Ring(std::string_view track, std::size_t most, bool stopped_already)
      : name(track), capacity(most), stopped(stopped_already) {}

  void add(std::string_view text, std::int64_t step, std::int64_t begin_ns, std::int64_t end_ns) {
    Stored span{step, begin_ns, end_ns, static_cast<std::uint8_t>(std::min(text.size(), kNameBytes)), {}};
    std::memcpy(span.name, text.data(), span.name_bytes);
    const std::lock_guard lock(mutex);
    if (spans.size() < capacity)
      spans.push_back(span);
    else
      spans[added % capacity] = span;
    ++added;
  }

  const std::string name;
  const std::size_t capacity;
  std::atomic<bool> stopped;
  std::mutex mutex;
  std::vector<Stored> spans;  // guarded by mutex, as is `added`
  std::uint64_t added = 0;
};

struct Trace::State {
  int rank;
  std::size_t spans_per_track;
  std::int64_t wall_minus_steady_ns;  // so that the files of several ranks lie on one time line
  std::mutex mutex;
  bool stopped = false;    // guarded by mutex
  std::deque<Ring> rings;  // guarded by mutex; never shrinks, and a deque leaves its elements where they are
};

Trace::Trace(int rank, std::size_t spans_per_track)
    : state_(new State{rank, spans_per_track, now_ns<std::chrono::system_clock>() - steady_ns(), {}, false, {}}) {
  CHECK(spans_per_track > 0);
}
Trace::~Trace() = default;

bool Trace::Track::records() const { return ring_ != nullptr && !ring_->stopped; }

void Trace::Track::add(std::string_view name, std::int64_t step, std::int64_t begin_ns, std::int64_t end_ns) const {
  if (records()) ring_->add(name, step, begin_ns, end_ns);
}

Trace::Span::Span(Track track, std::string_view name, std::int64_t step)
    : track_(track), step_(step), begin_ns_(0), name_bytes_(std::min(name.size(), kNameBytes)) {
  if (!track_.records()) return;
  std::memcpy(name_, name.data(), name_bytes_);
  begin_ns_ = steady_ns();
}

Trace::Span::~Span() {
  if (begin_ns_ != 0) track_.add({name_, name_bytes_}, step_, begin_ns_, steady_ns());
}

Trace::Track Trace::track(std::string_view name) {
  const std::lock_guard lock(state_->mutex);
  for (Ring& ring : state_->rings)
    if (ring.name == name) return Track(&ring);
  return Track(&state_->rings.emplace_back(name, state_->spans_per_track, state_->stopped));
}

void Trace::stop() {
  const std::lock_guard lock(state_->mutex);
  state_->stopped = true;
  for (Ring& ring : state_->rings) ring.stopped = true;
}

std::vector<TraceEvent> Trace::events(StepRange steps) const {
  const std::lock_guard lock(state_->mutex);
  std::vector<TraceEvent> events;
  for (Ring& ring : state_->rings) {
    const std::size_t first = events.size();
    {
      const std::lock_guard ring_lock(ring.mutex);
      for (const Stored& span : ring.spans)
        if (span.step >= steps.first && span.step <= steps.last)
          events.push_back({ring.name, std::string(span.name, span.name_bytes), span.step, span.begin_ns, span.end_ns});
    }
    std::sort(events.begin() + static_cast<std::ptrdiff_t>(first), events.end(), [](const auto& a, const auto& b) {
      // A span before what it contains.
      return std::pair(a.begin_ns, -a.end_ns) < std::pair(b.begin_ns, -b.end_ns);
    });
  }
  return events;
}

// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (Trace Event Format): "X" events,
// times in microseconds, a process a rank and a thread a track.
void Trace::write(const std::filesystem::path& path, StepRange steps) const {
  const std::vector<TraceEvent> chosen = events(steps);
  std::vector<std::string> tracks;
  std::uint64_t forgotten = 0;
  {
    const std::lock_guard lock(state_->mutex);
    for (Ring& ring : state_->rings) {
      const std::lock_guard ring_lock(ring.mutex);
      tracks.push_back(ring.name);
      forgotten += ring.added - ring.spans.size();
    }
  }
  const int rank = state_->rank;
  const auto microseconds = [](std::int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); };
  std::string text =
      fmt::format("{{\"otherData\":{{\"rank\":{},\"forgotten_spans\":{}}},\n\"traceEvents\":[\n", rank, forgotten);
  text += fmt::format(R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":"rank {}"}}}})", rank, rank);
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < tracks.size(); ++i) {
    index[tracks[i]] = i;
    text += fmt::format(
        ",\n"
        R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":{}}}}})",
        rank, i, json_quoted(tracks[i]));
  }
  for (const TraceEvent& event : chosen)
    text += fmt::format(
        ",\n"
        R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},"name":{},"args":{{"step":{}}}}})",
        rank, index.at(event.track), microseconds(event.begin_ns + state_->wall_minus_steady_ns),
        microseconds(event.end_ns - event.begin_ns), json_quoted(event.name), event.step);
  text += "\n]}\n";

  std::filesystem::path part = path;
  part += ".part";
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  std::error_code error;
  if (out) std::filesystem::rename(part, path, error);
  if (!out || error) {
    std::error_code ignored;
    std::filesystem::remove(part, ignored);
    throw UserError(fmt::format(
        "cannot write the trace {}: check that the folder exists, may be written, and has room.", path.string()));
  }
}

std::vector<TraceEvent> read_trace(const std::filesystem::path& path) {
  const std::string text = read_file(path, kMaxTraceBytes, "Is it the trace of a run?");
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    std::map<std::int64_t, std::string> tracks;
    std::vector<TraceEvent> events;
    for (const auto& event : json.at("traceEvents")) {
      if (event.at("ph") == "M" && event.at("name") == "thread_name")
        tracks[event.at("tid").get<std::int64_t>()] = event.at("args").at("name").get<std::string>();
      if (event.at("ph") != "X") continue;
      const auto begin = static_cast<std::int64_t>(std::llround(event.at("ts").get<double>() * 1000));
      const auto length = static_cast<std::int64_t>(std::llround(event.at("dur").get<double>() * 1000));
      events.push_back({tracks.at(event.at("tid").get<std::int64_t>()), event.at("name").get<std::string>(),
                        event.at("args").at("step").get<std::int64_t>(), begin, begin + length});
    }
    return events;
  } catch (const std::exception& error) {
    throw DamagedDataError(fmt::format("{} is not a trace that trireme wrote: {}", path.string(), error.what()));
  }
}

double busy_seconds(const std::vector<TraceEvent>& events, std::string_view track) {
  std::int64_t sum_ns = 0;
  for (const Interval& span : busy(events, track)) sum_ns += span.second - span.first;
  return static_cast<double>(sum_ns) * 1e-9;
}

double overlap_seconds(const std::vector<TraceEvent>& events, std::string_view track, std::string_view other) {
  const std::vector<Interval> a = busy(events, track), b = busy(events, other);
  std::int64_t sum_ns = 0;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    sum_ns += std::max<std::int64_t>(0, std::min(a[i].second, b[j].second) - std::max(a[i].first, b[j].first));
    a[i].second < b[j].second ? ++i : ++j;
  }
  return static_cast<double>(sum_ns) * 1e-9;
}

}  // namespace trireme
