#include "monitoring/plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "monitoring/error.h"
#include "monitoring/metrics_file.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The first thing by which the text is not well-formed XML (elements, attributes and entities, which is all that we
// write); empty if it is.
std::string xml_problem(const std::string& text) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x20 && text[at] != '\n') return "control character";
    if (text[at] == '&') {
      const std::string entity = text.substr(at, text.find(';', at) - at + 1);
      if (entity != "&amp;" && entity != "&lt;" && entity != "&gt;" && entity != "&quot;") return "bare " + entity;
    }
    if (text[at] != '<') {
      if (open.empty() && text[at] != '\n') return "text outside of the root";
      ++at;
      continue;
    }
    const std::size_t end = text.find('>', at);
    if (end == text.npos) return "a tag without its end";
    std::string tag = text.substr(at + 1, end - at - 1);
    at = end + 1;
    if (tag.find('<') != tag.npos) return "< inside of <" + tag;
    if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return "odd quotes in <" + tag;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return "unexpected <" + tag;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty() ? "" : "open: " + open.back();
}

Curve curve(const std::vector<double>& y, CurveStyle style = CurveStyle::kSmoothed) {
  Curve result{.label = "training", .x = {}, .y = y, .style = style};
  for (std::size_t i = 0; i < y.size(); ++i) result.x.push_back(static_cast<double>(i + 1));
  return result;
}

std::string drawn(const std::vector<double>& y, CurveStyle style = CurveStyle::kSmoothed) {
  return svg({.title = "run", .x_label = "step", .y_label = "loss", .curves = {curve(y, style)}});
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++found;
  return found;
}

}  // namespace

RC_GTEST_PROP(Plot, AnythingIsDrawnAsWellFormedXmlWithoutANonNumber, (std::vector<double> y, bool points)) {
  const std::string text = drawn(y, points ? CurveStyle::kPoints : CurveStyle::kSmoothed);
  RC_ASSERT(xml_problem(text) == "");
  RC_ASSERT(text.find("nan") == text.npos);
  RC_ASSERT(text.find("inf") == text.npos);
}

TEST(Plot, ExtremeValuesAreDrawnToo) {
  const double huge = std::numeric_limits<double>::max(), tiny = std::numeric_limits<double>::denorm_min();
  for (const std::vector<double>& y : std::vector<std::vector<double>>{{},
                                                                       {3.2},
                                                                       {kNaN},
                                                                       {kInfinity, -kInfinity},
                                                                       {0, 0, 0},
                                                                       {1e300, 1e300},
                                                                       {huge, -huge},
                                                                       {tiny, 2 * tiny},
                                                                       {1, kNaN, 2, kInfinity, 3}}) {
    const std::string text = drawn(y);
    EXPECT_EQ(xml_problem(text), "");
    EXPECT_EQ(count(text, "nan"), 0) << text;
    EXPECT_EQ(count(text, "inf"), 0) << text;
  }
}

TEST(Plot, ARunWithoutStepsSaysSo) {
  EXPECT_THAT(drawn({}), HasSubstr("nothing to draw yet"));
  EXPECT_THAT(drawn({1.0}), Not(HasSubstr("nothing to draw yet")));
}

TEST(Plot, OneStepIsADot) { EXPECT_EQ(count(drawn({3.2}), "<circle"), 1); }

TEST(Plot, StepsThatAreNotFiniteBreakTheLineAndAreMarked) {
  const std::string whole = drawn({4, 3, 2, 1}), broken = drawn({4, 3, kNaN, 1, 1});
  const auto marks = [](const std::string& text) { return count(text, "stroke=\"#c00000\""); };
  EXPECT_EQ(marks(whole), 0);
  EXPECT_EQ(marks(broken), 2);  // one on the axis, one in the legend
  const std::size_t path = broken.find("<path d=\"M", broken.find("clip-path"));
  const std::string data = broken.substr(path + 9, broken.find('"', path + 9) - path - 9);
  EXPECT_EQ(count(data, "M"), 2) << data;
}

TEST(Plot, ASpikeDoesNotPressTheRestFlat) {
  std::vector<double> y;
  for (int i = 0; i < 1000; ++i) y.push_back(2 + 2 * std::exp(-i / 200.0));
  const std::string calm = drawn(y);
  y[500] = 1e9;
  const std::string spiked = drawn(y);
  EXPECT_EQ(count(spiked, "1 value above the frame"), 1);
  EXPECT_EQ(count(calm, "above the frame"), 0);
  EXPECT_EQ(count(spiked, " M</text>"), 0);       // the axis does not reach to the spike
  EXPECT_EQ(count(spiked, "L504.9 -5400.0"), 1);  // and only the raw line does
}

TEST(Plot, ALongRunIsThinnedToItsPixels) {
  std::vector<double> y;
  for (int i = 0; i < 200000; ++i) y.push_back(3 + std::sin(i * 0.7));
  EXPECT_LT(drawn(y).size(), 100'000u);
}

TEST(Plot, NamesOfRunsAreEscaped) {
  const std::string text = svg({.title = "<a> & \"b\"\x01", .x_label = "x", .y_label = "y", .curves = {}});
  EXPECT_EQ(xml_problem(text), "");
  EXPECT_THAT(text, HasSubstr("&lt;a&gt; &amp; &quot;b&quot;"));
}

TEST(Plot, RunsBecomeCurvesOfTrainingAndValidation) {
  const ScratchFolder scratch;
  std::filesystem::create_directories(scratch / "wide");
  std::filesystem::create_directories(scratch / "deep");
  write_bytes(scratch / "wide" / "metrics.jsonl",
              MetricsRecord(1).add("loss", 4.0).line() +
                  MetricsRecord(2).add("loss", 3.0).add("validation_loss", 3.5).line() +
                  MetricsRecord(3).add("loss", kNaN).line() + "{\"step\":4,\"lo");
  write_bytes(scratch / "deep" / "metrics.jsonl", "");
  const LinePlot one = loss_plot({scratch / "wide"});
  EXPECT_EQ(one.title, "wide");
  ASSERT_EQ(one.curves.size(), 2u);
  EXPECT_EQ(one.curves[0].label, "training 3.0000");
  EXPECT_EQ(one.curves[0].x, (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(one.curves[1].label, "validation 3.5000");
  EXPECT_EQ(one.curves[1].x, (std::vector<double>{2}));
  EXPECT_NE(one.curves[0].colour, one.curves[1].colour);

  const LinePlot two = loss_plot({scratch / "wide" / "", scratch / "deep" / "metrics.jsonl"});
  EXPECT_EQ(two.title, "2 runs");
  ASSERT_EQ(two.curves.size(), 3u);
  EXPECT_EQ(two.curves[0].label, "wide training 3.0000");
  EXPECT_EQ(two.curves[0].colour, two.curves[1].colour);
  EXPECT_EQ(two.curves[2].label, "deep training");
  write_svg(two, scratch / "loss.svg");
  EXPECT_EQ(xml_problem(read_bytes(scratch / "loss.svg")), "");
}

TEST(Plot, ARunThatIsNotThereIsAUsersMistakeThatNamesIt) {
  const ScratchFolder scratch;
  try {
    loss_plot({scratch / "none"});
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("none"));
  }
  EXPECT_THROW(write_svg({}, scratch / "none" / "x.svg"), UserError);
}

TEST(NiceTicks, AreRoundNumbersThatEncloseTheRange) {
  EXPECT_EQ(nice_ticks(0, 1, 5), (std::vector<double>{0, 0.2, 2 * 0.2, 3 * 0.2, 4 * 0.2, 1}));
  EXPECT_EQ(nice_ticks(2.1, 10.9, 6), (std::vector<double>{2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(nice_ticks(1, 2400, 8), (std::vector<double>{0, 500, 1000, 1500, 2000, 2500}));
}

RC_GTEST_PROP(NiceTicks, EncloseAnyRangeWithAboutAsManyAsAskedFor, ()) {
  const double low = *rc::gen::inRange(-1000000, 1000000) / 997.0;
  const double high = low + *rc::gen::inRange(1, 1000000) / 991.0;
  const int wanted = *rc::gen::inRange(2, 12);
  const auto ticks = nice_ticks(low, high, wanted);
  const double apart = ticks[1] - ticks[0];
  RC_ASSERT(ticks.front() <= low + 1e-6 * apart);
  RC_ASSERT(ticks.back() >= high - 1e-6 * apart);
  RC_ASSERT(ticks.front() > low - 1.001 * apart);
  RC_ASSERT(ticks.back() < high + 1.001 * apart);
  RC_ASSERT(static_cast<int>(ticks.size()) <= wanted + 2);
  RC_ASSERT(static_cast<int>(ticks.size()) >= wanted / 3);
}

TEST(MovingAverage, LeavesAStraightLineAsItIs) {
  std::vector<double> line;
  for (int i = 0; i < 50; ++i) line.push_back(10 - 0.25 * i);
  const auto mean = moving_average(line, 7);
  for (std::size_t i = 0; i < line.size(); ++i) EXPECT_NEAR(mean[i], line[i], 1e-12);
}

TEST(MovingAverage, PassesOverWhatIsNotFinite) {
  const auto mean = moving_average({1, kNaN, 3, 4, 5}, 2);
  EXPECT_TRUE(std::isnan(mean[1]));
  EXPECT_DOUBLE_EQ(mean[2], (1.0 + 3 + 4 + 5) / 4);
}

}  // namespace trireme
