// Whether communication really runs beside computation cannot be seen in a step's time; it shows only when both lie on
// one time line. A Trace keeps what each track of a rank (compute stream, communication thread, loader) did and when,
// at a cost that lets it stay on always, and writes chosen steps as JSON that Perfetto (ui.perfetto.dev) and
// chrome://tracing open.
//
// - A track is a ring of the newest kSpansPerTrack spans; older ones are forgotten, and the file says how many.
// - A span costs two readings of the clock and one uncontended lock (some 100 ns). Spans of one track should nest or
//   follow each other: one thread or one stream a track.
// - Everything is thread-safe. Tracks and spans must not outlive their Trace. A default-made Track records nothing, so
//   that a component works without a trace.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct TraceEvent {
  std::string track, name;
  std::int64_t step = -1;
  std::int64_t begin_ns = 0, end_ns = 0;  // of std::chrono::steady_clock; after read_trace, since the epoch
};

struct StepRange {
  std::int64_t first = std::numeric_limits<std::int64_t>::min();
  std::int64_t last = std::numeric_limits<std::int64_t>::max();  // inclusive
};

class Trace {
  struct Ring;

 public:
  static constexpr std::size_t kSpansPerTrack = 1 << 15;
  static constexpr std::size_t kNameBytes = 71;  // longer names keep their beginning

  explicit Trace(int rank, std::size_t spans_per_track = kSpansPerTrack);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  class Track {
   public:
    Track() = default;
    bool records() const;  // false: nothing comes of `add`
    // A span that was timed otherwise, in steady_clock's nanoseconds.
    void add(std::string_view name, std::int64_t step, std::int64_t begin_ns, std::int64_t end_ns) const;

   private:
    friend class Trace;
    explicit Track(Ring* ring) : ring_(ring) {}
    Ring* ring_ = nullptr;
  };

  // Trace::Span span(track, "all_reduce bucket 3", step); it ends with its scope.
  class Span {
   public:
    Span(Track track, std::string_view name, std::int64_t step);
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    Track track_;
    std::int64_t step_, begin_ns_;
    std::size_t name_bytes_;
    char name_[kNameBytes];
  };

  // The track of that name; made when first asked for.
  Track track(std::string_view name);

  // From now on nothing is recorded: timing what runs on a device costs it a little.
  void stop();

  // What is remembered of those steps, by track and then by time.
  std::vector<TraceEvent> events(StepRange steps = {}) const;

  // Writes RUN/trace-rank0.json; replaces what was there. Throws UserError if it cannot be written.
  void write(const std::filesystem::path& path, StepRange steps = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The spans of a file that Trace::write made. Throws UserError (missing) or DamagedDataError.
std::vector<TraceEvent> read_trace(const std::filesystem::path& path);

// Seconds during which a span of the track was under way (nested spans count once).
double busy_seconds(const std::vector<TraceEvent>& events, std::string_view track);
// Seconds during which both tracks were busy: of communication, those that computation hid.
double overlap_seconds(const std::vector<TraceEvent>& events, std::string_view track, std::string_view other);

}  // namespace trireme
