#include "monitoring/run_report.h"

#include <limits>

#include <gtest/gtest.h>

namespace trireme {

TEST(RunReport, BytesHaveThreeDigitsAndNeverRoundUpToAWholeNextUnit) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.00 KiB");
  EXPECT_EQ(human_bytes(1536), "1.50 KiB");
  EXPECT_EQ(human_bytes(1048575), "1.00 MiB");
  EXPECT_EQ(human_bytes(25.0 * 1024 * 1024), "25.0 MiB");
  EXPECT_EQ(human_bytes(141.0 * 1024 * 1024 * 1024), "141 GiB");
  EXPECT_EQ(human_bytes(-2048), "-2.00 KiB");
}

TEST(RunReport, CountsHaveThreeDigits) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(12.345), "12.3");
  EXPECT_EQ(human_count(1234), "1.23 k");
  EXPECT_EQ(human_count(9996), "10.0 k");
  EXPECT_EQ(human_count(999999), "1.00 M");
  EXPECT_EQ(human_count(124439808), "124 M");
  EXPECT_EQ(human_count(70.6e9), "70.6 B");
  EXPECT_EQ(human_count(std::numeric_limits<double>::quiet_NaN()), "?");
}

TEST(RunReport, SecondsReachFromNanosecondsToDays) {
  EXPECT_EQ(human_seconds(0), "0 s");
  EXPECT_EQ(human_seconds(250e-9), "250 ns");
  EXPECT_EQ(human_seconds(830e-6), "830 us");
  EXPECT_EQ(human_seconds(999.9e-6), "1.00 ms");
  EXPECT_EQ(human_seconds(1.234), "1.23 s");
  EXPECT_EQ(human_seconds(59.99), "1:00");
  EXPECT_EQ(human_seconds(3599.7), "1:00:00");
  EXPECT_EQ(human_seconds(3 * 86400 + 4 * 3600 + 5 * 60), "3d 04:05");
  EXPECT_EQ(human_seconds(std::numeric_limits<double>::infinity()), "?");
}

TEST(RunReport, ExactCountsAreGroupedByThousands) {
  EXPECT_EQ(exact_count(0), "0");
  EXPECT_EQ(exact_count(999), "999");
  EXPECT_EQ(exact_count(-1000), "-1,000");
  EXPECT_EQ(exact_count(124439808), "124,439,808");
}

TEST(RunReport, AStepIsOneLineAndItsColumnsKeepTheirPlace) {
  StepLine line{.step = 9,
                .steps = 1000,
                .loss = 10.5,
                .validation_loss = {},
                .gradient_norm = 1.5,
                .learning_rate = 3e-4,
                .tokens_per_second = 12345,
                .share_of_peak = 0.612,
                .eta_seconds = 730,
                .remark = ""};
  const std::string first = step_line(line);
  EXPECT_EQ(first,
            "step    9/1000  loss 10.5000  norm  1.500  lr 3.00e-04  12.3 k tokens/s  61.2 % of peak  ETA 12:10");
  line.step = 1000;
  line.loss = 2.25;
  line.tokens_per_second = 123456;
  line.share_of_peak = 0.0987;
  line.validation_loss = 2.5;
  line.remark = "skipped";
  const std::string second = step_line(line);
  for (const char* word : {"loss", "norm", "lr", "tokens/s", "of peak", "ETA"})
    EXPECT_EQ(first.find(word), second.find(word)) << word << "\n" << second;
  EXPECT_TRUE(second.ends_with("  validation 2.5000  skipped")) << second;
  line.loss_scale = 65536;
  EXPECT_NE(step_line(line).find("lr 3.00e-04  scale 2^16   123 k tokens/s"), std::string::npos) << step_line(line);
  line.loss_scale = 0.5;
  EXPECT_NE(step_line(line).find("lr 3.00e-04  scale 2^-1   123 k tokens/s"), std::string::npos) << step_line(line);
  EXPECT_EQ(step_line({.step = 1, .loss = 2, .tokens_per_second = 10, .remark = ""}),
            "step      1  loss  2.0000      10 tokens/s");
}

TEST(RunReport, TablesAlignColumnsByCodePointsAndRuleOffTheTotal) {
  Table table({"what", "size"}, {Align::kLeft, Align::kRight});
  table.row({"poids d'entrée", "1.50 GiB"});
  table.row({"x", "7 B"});
  table.total({"sum", "1.50 GiB"});
  EXPECT_EQ(table.text(2),
            "  what                size\n"
            "  --------------  --------\n"
            "  poids d'entrée  1.50 GiB\n"
            "  x                    7 B\n"
            "  --------------  --------\n"
            "  sum             1.50 GiB\n");
}

TEST(RunReportDeathTest, ARowOfTheWrongLengthIsABug) {
  Table table({"a", "b"}, {Align::kLeft, Align::kLeft});
  EXPECT_DEATH(table.row({"only one"}), "1 cells in a table of 2 columns");
}

}  // namespace trireme
