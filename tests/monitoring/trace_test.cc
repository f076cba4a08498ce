#include "monitoring/trace.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

TraceEvent span(const char* track, std::int64_t begin_ns, std::int64_t end_ns) {
  return {track, "work", 0, begin_ns, end_ns};
}

}  // namespace

TEST(Trace, OverlapIsTheTimeInWhichBothTracksWereBusy) {
  const std::vector<TraceEvent> events = {
      span("compute", 0, 100),         span("compute", 20, 50),  // nested: counts once
      span("compute", 200, 300),       span("communication", 50, 250),
      span("communication", 280, 290), span("communication", 400, 500)};
  EXPECT_DOUBLE_EQ(busy_seconds(events, "compute"), 200e-9);
  EXPECT_DOUBLE_EQ(busy_seconds(events, "communication"), 310e-9);
  EXPECT_DOUBLE_EQ(overlap_seconds(events, "communication", "compute"), (50 + 50 + 10) * 1e-9);
  EXPECT_EQ(overlap_seconds(events, "communication", "loader"), 0);
}

RC_GTEST_PROP(Trace, OverlapEqualsCountingEveryNanosecond,
              (std::vector<std::tuple<bool, std::uint8_t, std::uint8_t>> raw)) {
  std::vector<TraceEvent> events;
  std::vector<std::pair<bool, bool>> busy(512);
  for (const auto& [first, begin, length] : raw) {
    events.push_back(span(first ? "a" : "b", begin, begin + length));
    for (int t = begin; t < begin + length; ++t)
      (first ? busy[static_cast<std::size_t>(t)].first : busy[static_cast<std::size_t>(t)].second) = true;
  }
  const auto both = std::count(busy.begin(), busy.end(), std::pair(true, true));
  RC_ASSERT(std::abs(overlap_seconds(events, "a", "b") - static_cast<double>(both) * 1e-9) < 1e-15);
  RC_ASSERT(overlap_seconds(events, "a", "b") == overlap_seconds(events, "b", "a"));
}

TEST(Trace, SpansOfTwoThreadsShowThatTheyRanTogether) {
  Trace trace(0);
  using namespace std::chrono_literals;
  {
    const Trace::Span outer(trace.track("compute"), "backward", 7);
    std::thread communication([&] {
      const Trace::Span inner(trace.track("communication"), "all_reduce", 7);
      std::this_thread::sleep_for(20ms);
    });
    communication.join();
  }
  { const Trace::Span later(trace.track("communication"), "all_reduce", 8); }
  const auto events = trace.events({7, 7});
  EXPECT_EQ(events.size(), 2u);
  EXPECT_GE(busy_seconds(events, "communication"), 0.02);
  EXPECT_EQ(overlap_seconds(events, "communication", "compute"), busy_seconds(events, "communication"));
}

TEST(Trace, TheFileIsJsonWithAProcessARankAndAThreadATrack) {
  const ScratchFolder scratch;
  Trace trace(3);
  trace.track("compute").add("say \"F\" \xff", 5, 1000, 4500);
  trace.track("loader").add("batch", 6, 2000, 3000);
  trace.write(scratch / "trace.json", {5, 5});
  const auto json = nlohmann::json::parse(read_bytes(scratch / "trace.json"));
  EXPECT_EQ(json["otherData"]["rank"], 3);
  const auto& events = json["traceEvents"];
  ASSERT_EQ(events.size(), 4u);  // a process, two tracks, the one span of step 5
  EXPECT_EQ(events[0]["args"]["name"], "rank 3");
  EXPECT_EQ(events[1]["args"]["name"], "compute");
  EXPECT_EQ(events[2]["args"]["name"], "loader");
  EXPECT_EQ(events[3]["ph"], "X");
  EXPECT_EQ(events[3]["pid"], 3);
  EXPECT_EQ(events[3]["tid"], events[1]["tid"]);
  EXPECT_EQ(events[3]["dur"], 3.5);
  EXPECT_EQ(events[3]["name"], "say \"F\" \xef\xbf\xbd");
  EXPECT_EQ(events[3]["args"]["step"], 5);
  EXPECT_FALSE(std::filesystem::exists(scratch / "trace.json.part"));
}

TEST(Trace, AFileReadsBackWithTheSameOverlap) {
  const ScratchFolder scratch;
  Trace trace(0);
  trace.track("compute").add("forward", 1, 1'000'000, 9'000'000);
  trace.track("communication").add("send", 1, 5'000'000, 12'000'000);
  trace.write(scratch / "t");
  const auto events = read_trace(scratch / "t");
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].track, "communication");
  EXPECT_EQ(events[1].name, "send");
  EXPECT_EQ(events[1].step, 1);
  // Begin and end are doubles of microseconds since the epoch: within 125 ns each.
  EXPECT_NEAR(overlap_seconds(events, "compute", "communication"), 4e-3, 1e-6);
}

TEST(Trace, ATrackRemembersItsNewestSpansAndTheFileSaysHowManyItForgot) {
  const ScratchFolder scratch;
  Trace trace(0, 10);
  for (int i = 0; i < 25; ++i) trace.track("compute").add("f", i, i, i + 1);
  const auto events = trace.events();
  ASSERT_EQ(events.size(), 10u);
  EXPECT_EQ(events.front().step, 15);
  EXPECT_EQ(events.back().step, 24);
  trace.write(scratch / "t");
  EXPECT_THAT(read_bytes(scratch / "t"), HasSubstr("\"forgotten_spans\":15"));
}

TEST(Trace, LongNamesKeepTheirBeginning) {
  Trace trace(0);
  { const Trace::Span long_name(trace.track("compute"), std::string(200, 'n'), 1); }
  EXPECT_EQ(trace.events().at(0).name, std::string(Trace::kNameBytes, 'n'));
}

TEST(Trace, AContainingSpanComesBeforeWhatItContains) {
  Trace trace(0);
  trace.track("compute").add("inner", 1, 10, 20);
  trace.track("compute").add("outer", 1, 10, 50);
  EXPECT_EQ(trace.events().at(0).name, "outer");
}

TEST(Trace, WithoutATraceASpanRecordsNothing) {
  const Trace::Span span(Trace::Track(), "f", 1);
  Trace::Track().add("f", 1, 0, 1);
}

TEST(Trace, ManyThreadsMayRecordAndOneMayWriteMeanwhile) {
  const ScratchFolder scratch;
  Trace trace(0, 1000);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const Trace::Track own = trace.track("track " + std::to_string(t)), shared = trace.track("shared");
      for (int i = 0; i < 250; ++i) {
        const Trace::Span a(own, "a", i);
        const Trace::Span b(shared, "b", i);
      }
    });
  trace.write(scratch / "early");
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(trace.events().size(), 2000u);
  read_trace(scratch / "early");
}

TEST(Trace, WhatCannotBeWrittenOrReadNamesTheFile) {
  const ScratchFolder scratch;
  const Trace trace(0);
  try {
    trace.write(scratch / "missing" / "trace-rank0.json");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("missing/trace-rank0.json"));
  }
  EXPECT_THROW(read_trace(scratch / "none"), UserError);
  write_bytes(scratch / "bad", "{\"traceEvents\":[{\"ph\":\"X\"}]}");
  EXPECT_THROW(read_trace(scratch / "bad"), DamagedDataError);
}

}  // namespace trireme
