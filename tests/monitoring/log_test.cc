#include "monitoring/log.h"

#include <cstdio>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "monitoring/check.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

// Sends the log to a file, and back to stderr at its end.
class LogTest : public ::testing::Test {
 protected:
  LogTest() { whereabouts() = {}; }

  void log_to_file(LogOptions options) {
    file_.reset(std::fopen(path_.c_str(), "w"));
    options.stream = file_.get();
    configure_log(options);
  }
  std::string logged() const { return read_bytes(path_); }

  ~LogTest() override {
    configure_log({});
    whereabouts() = {};
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  ScratchFolder scratch_;
  std::filesystem::path path_ = scratch_ / "log";
  std::unique_ptr<std::FILE, Close> file_;
};

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++found;
  return found;
}

}  // namespace

TEST_F(LogTest, AFileGetsPlainLinesWithTheTimeAndNoColours) {
  log_to_file({});
  log_info("resumed from step {}", 12);
  log_debug("not shown");
  log_warning("careful");
  EXPECT_THAT(logged(), MatchesRegex("[0-9:]{8} resumed from step 12\n[0-9:]{8} warning: careful\n"));
}

TEST_F(LogTest, OnlyRankZeroInformsAndAnyRankWarns) {
  log_to_file({.ranks = 2});
  for (const int rank : {0, 1}) {
    std::thread([rank] {
      whereabouts().rank = rank;
      log_info("hello");
      log_warning("loss is high");
    }).join();
  }
  const std::string text = logged();
  EXPECT_THAT(text, HasSubstr("[rank 0] hello"));
  EXPECT_THAT(text, Not(HasSubstr("[rank 1] hello")));
  EXPECT_THAT(text, HasSubstr("[rank 0] warning: loss is high"));
  EXPECT_THAT(text, HasSubstr("[rank 1] warning: loss is high"));
}

TEST_F(LogTest, ATerminalGetsColoursOnWarningsOnly) {
  unsetenv("NO_COLOR");
  log_to_file({.terminal = LogTerminal::kYes});
  log_info("plain");
  log_error("red");
  const std::string text = logged();
  EXPECT_THAT(text, HasSubstr(" plain\n"));
  EXPECT_THAT(text, HasSubstr("\033[31merror: red\033[0m\n"));
}

TEST_F(LogTest, LinesOfManyThreadsAreNeverTorn) {
  log_to_file({});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 50; ++i) log_info("{}", std::string(300, 'x'));
    });
  for (auto& thread : threads) thread.join();
  const std::string text = logged();
  EXPECT_EQ(count(text, std::string(300, 'x') + "\n"), 200);
  EXPECT_EQ(text.size(), 200u * (9 + 301));
}

TEST_F(LogTest, TheBarIsTakenAwayBeforeALineAndDrawnAgainAfterIt) {
  log_to_file({.terminal = LogTerminal::kYes});
  {
    Progress progress("reading", 100);
    progress.update(25);
    log_info("a line");
  }
  const std::string bar = "reading \\[###*-*\\]  25 %  25 of 100[^\r\n]*";
  EXPECT_THAT(logged(), MatchesRegex("\r\033\\[K" + bar + "\r\033\\[K[0-9:]{8} a line\n" + bar + "\r\033\\[K"));
}

TEST_F(LogTest, WithoutATerminalProgressIsALineNowAndThen) {
  log_to_file({});
  Progress every("reading", 4096, {.unit = ProgressUnit::kBytes, .plain_seconds = 0});
  every.update(1024, "bible.txt");
  Progress never("writing", 10, {.plain_seconds = std::numeric_limits<double>::infinity()});
  never.update(5);
  every.finish();
  const std::string text = logged();
  EXPECT_THAT(text, HasSubstr(" reading: 25 %  1.00 KiB of 4.00 KiB"));
  EXPECT_THAT(text, HasSubstr("bible.txt\n"));
  EXPECT_THAT(text, Not(HasSubstr("writing")));
  EXPECT_THAT(text, Not(HasSubstr("\r")));
  EXPECT_THAT(text, HasSubstr(" reading: 1.00 KiB in "));
  EXPECT_EQ(count(text, "\n"), 2);
}

TEST_F(LogTest, ProgressOfOtherRanksIsSilent) {
  log_to_file({.ranks = 2, .other_ranks = LogLevel::kDebug});
  whereabouts().rank = 1;
  Progress progress("reading", 10, {.plain_seconds = 0});
  progress.update(5);
  progress.finish();
  EXPECT_EQ(logged(), "");
}

TEST(ProgressText, TheRateAndTheEstimateLeaveOutWhatWasDoneBefore) {
  const ProgressView view{
      .what = "training", .note = "", .done = 150, .total = 250, .already_done = 100, .seconds = 25};
  EXPECT_EQ(progress_line(view), "training: 60 %  150 of 250  2/s  ETA 50 s");
}

TEST(ProgressText, ItNeverExceedsTheTerminal) {
  const ProgressView view{.what = "tokenizing",
                          .note = "a rather long name of a file.jsonl.zst",
                          .done = 3e9,
                          .total = 4e9,
                          .seconds = 60,
                          .unit = ProgressUnit::kBytes};
  for (const int columns : {1, 10, 40, 79, 200}) {
    const std::string bar = progress_bar(view, columns);
    EXPECT_LE(bar.size(), static_cast<std::size_t>(columns)) << bar;
  }
  EXPECT_THAT(progress_bar(view, 200), HasSubstr("tokenizing [######################--------]  75 %  2.79 GiB of"));
}

TEST(ProgressText, AnUnknownTotalShowsNoShare) {
  EXPECT_EQ(progress_bar({.what = "reading", .note = "", .done = 10, .seconds = 5}, 79), "reading: 10  2/s");
}

}  // namespace trireme
