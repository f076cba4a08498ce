#include "monitoring/metrics_file.h"

#include <bit>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "monitoring/error.h"
#include "monitoring/log.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

std::string line(std::int64_t step) { return MetricsRecord(step).add("loss", 1.0 / static_cast<double>(step)).line(); }

std::string lines(std::int64_t first, std::int64_t last) {
  std::string text;
  for (std::int64_t step = first; step <= last; ++step) text += line(step);
  return text;
}

void append(MetricsFile& file, std::int64_t step) {
  file.append(MetricsRecord(step).add("loss", 1.0 / static_cast<double>(step)));
}

}  // namespace

TEST(MetricsFile, ALineIsAnObjectWithItsFieldsInOrder) {
  const MetricsRecord record = MetricsRecord(12)
                                   .add("loss", 3.25F)
                                   .add("grad_norm", 0.1)
                                   .add("tokens", std::int64_t{4096})
                                   .add("rate", 1e-5)
                                   .add("remark", "say \"hi\"\n");
  EXPECT_EQ(record.line(),
            "{\"step\":12,\"loss\":3.25,\"grad_norm\":0.1,\"tokens\":4096,\"rate\":1e-05,"
            "\"remark\":\"say \\\"hi\\\"\\n\"}\n");
}

TEST(MetricsFile, AFloatIsWrittenAsAFloatNotAsTheDoubleThatItWidensTo) {
  EXPECT_EQ(MetricsRecord(1).add("x", 0.1F).line(), "{\"step\":1,\"x\":0.1}\n");
}

RC_GTEST_PROP(MetricsFile, EveryDoubleComesBackBitForBit, (std::uint64_t bits)) {
  const double value = std::bit_cast<double>(bits);
  RC_PRE(!std::isnan(value));
  const ScratchFolder scratch;
  write_bytes(scratch / "m", MetricsRecord(1).add("x", value).line());
  RC_ASSERT(std::bit_cast<std::uint64_t>(*read_metrics(scratch / "m").rows.at(0).number("x")) == bits);
}

RC_GTEST_PROP(MetricsFile, EveryFloatComesBackBitForBit, (std::uint32_t bits)) {
  const float value = std::bit_cast<float>(bits);
  RC_PRE(!std::isnan(value));
  const ScratchFolder scratch;
  write_bytes(scratch / "m", MetricsRecord(1).add("x", value).line());
  const auto back = static_cast<float>(*read_metrics(scratch / "m").rows.at(0).number("x"));
  RC_ASSERT(std::bit_cast<std::uint32_t>(back) == bits);
}

TEST(MetricsFile, WhatIsNotFiniteComesBackToo) {
  const ScratchFolder scratch;
  const double infinity = std::numeric_limits<double>::infinity();
  write_bytes(scratch / "m", MetricsRecord(1).add("a", std::nan("")).add("b", infinity).add("c", -infinity).line());
  EXPECT_EQ(read_bytes(scratch / "m"), "{\"step\":1,\"a\":\"NaN\",\"b\":\"Infinity\",\"c\":\"-Infinity\"}\n");
  const MetricsRow row = read_metrics(scratch / "m").rows.at(0);
  EXPECT_TRUE(std::isnan(row.number("a").value()));
  EXPECT_EQ(row.number("b"), infinity);
  EXPECT_EQ(row.number("c"), -infinity);
}

TEST(MetricsFile, AppendsToWhatIsThere) {
  const ScratchFolder scratch;
  for (const int step : {1, 2}) {
    MetricsFile file(scratch / "m");
    append(file, step);
    EXPECT_EQ(read_bytes(scratch / "m"), lines(1, step));  // there at once, not when it is closed
  }
}

TEST(MetricsFile, ATornLastLineIsCutOffAtEveryByte) {
  const ScratchFolder scratch;
  const std::string whole = lines(1, 3);
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    write_bytes(scratch / "m", whole.substr(0, bytes));
    { MetricsFile file(scratch / "m"); }
    const std::string left = read_bytes(scratch / "m");
    EXPECT_EQ(left, whole.substr(0, bytes == 0 ? 0 : whole.rfind('\n', bytes - 1) + 1)) << bytes;
  }
}

TEST(MetricsFile, ATornTailLongerThanABlockIsCutOff) {
  const ScratchFolder scratch;
  write_bytes(scratch / "m", line(1) + std::string(10000, 'x'));
  MetricsFile file(scratch / "m");
  append(file, 2);
  EXPECT_EQ(read_bytes(scratch / "m"), lines(1, 2));
}

TEST(MetricsFile, TruncationKeepsEveryStepUpToTheOneGiven) {
  const ScratchFolder scratch;
  MetricsFile file(scratch / "m");
  for (int step = 1; step <= 20; ++step) append(file, step);
  EXPECT_EQ(file.truncate_after(20), 0);
  EXPECT_EQ(file.truncate_after(12), 8);
  EXPECT_EQ(read_bytes(scratch / "m"), lines(1, 12));
  append(file, 13);
  EXPECT_EQ(read_bytes(scratch / "m"), lines(1, 13));
  EXPECT_EQ(file.truncate_after(0), 13);
  EXPECT_EQ(read_bytes(scratch / "m"), "");
}

TEST(MetricsFile, TruncationUnderstandsLinesThatOthersWroteAndPassesOverDamage) {
  const ScratchFolder scratch;
  write_bytes(scratch / "m", "{ \"loss\": 1, \"step\": 1 }\ngarbage\n{\"step\":2}\n{\"loss\":3, \"step\": 3}\nmore\n");
  MetricsFile file(scratch / "m");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(file.truncate_after(2), 2);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr("1 of its lines cannot be read"));
  EXPECT_EQ(read_bytes(scratch / "m"), "{ \"loss\": 1, \"step\": 1 }\ngarbage\n{\"step\":2}\n");
}

TEST(MetricsFile, AFullDiskLosesNoLineThatLaterFits) {
  const ScratchFolder scratch;
  MetricsFile file(scratch / "m");
  append(file, 1);
  // A limit on the size of files stands for the disk: the write stops in the middle of a line, then fails. The log goes
  // into a pipe, which has no such limit.
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  std::FILE* const into_pipe = fdopen(pipe_ends[1], "w");
  configure_log({.stream = into_pipe});
  struct rlimit before {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit full { line(1).size() + 5, before.rlim_max };
  setrlimit(RLIMIT_FSIZE, &full);
  append(file, 2);
  const std::string torn = read_bytes(scratch / "m");
  append(file, 3);
  const bool durable = file.sync();
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  append(file, 4);
  configure_log({});
  std::fclose(into_pipe);
  std::string log(4096, ' ');
  log.resize(static_cast<std::size_t>(read(pipe_ends[0], log.data(), log.size())));
  close(pipe_ends[0]);

  EXPECT_EQ(torn, line(1));
  EXPECT_FALSE(durable);
  EXPECT_EQ(read_bytes(scratch / "m"), lines(1, 4));
  EXPECT_TRUE(file.sync());
  EXPECT_EQ(log.find("cannot be written"), log.rfind("cannot be written")) << "warned more than once:\n" << log;
  EXPECT_THAT(log, HasSubstr("Training goes on"));
}

TEST(MetricsFile, ReadingNamesDamagedLinesAndLeavesOutATornOne) {
  const ScratchFolder scratch;
  write_bytes(scratch / "m", line(1) + "{\"step\":\"two\"}\n[1]\n" + line(3) + "{\"step\":4,\"lo");
  const MetricsRows read = read_metrics(scratch / "m");
  ASSERT_EQ(read.rows.size(), 2u);
  EXPECT_EQ(read.rows[1].step, 3);
  ASSERT_EQ(read.problems.size(), 2u);
  EXPECT_THAT(read.problems[0], HasSubstr("m:2: no whole-numbered \"step\""));
  EXPECT_THAT(read.problems[1], HasSubstr("m:3: not a JSON object"));
}

TEST(MetricsFile, AFileThatCannotBeOpenedIsAUsersMistakeThatNamesIt) {
  const ScratchFolder scratch;
  try {
    MetricsFile file(scratch / "missing" / "metrics.jsonl");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("missing/metrics.jsonl"));
  }
  EXPECT_THROW(read_metrics(scratch / "none"), UserError);
  EXPECT_THROW(read_metrics(scratch / "."), UserError);
}

}  // namespace trireme
