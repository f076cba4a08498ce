#include "dataloader/tokenizer/split_pattern.h"

#include <vector>

#include <gtest/gtest.h>

#include "dataloader/tokenizer/utf8.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

std::vector<std::string> matches(const SplitPattern& pattern, const std::string& text) {
  SplitPattern::Scratch scratch;
  std::vector<std::string> found;
  for (auto m = pattern.find(text, 0, scratch); m.start < text.size(); m = pattern.find(text, m.stop, scratch)) {
    found.push_back(text.substr(m.start, m.stop - m.start));
  }
  return found;
}

TEST(SplitPattern, KnowsUnicodesWhiteSpaceInsideAndOutsideAClass) {
  const SplitPattern outside(R"(\s)"), inside(R"([\sx])"), negated(R"([^\s])"), upper(R"(\S)");
  for (std::uint32_t c = 1; c < 0x3100; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(c, text);
    EXPECT_EQ(!matches(outside, text).empty(), is_white_space(c)) << std::hex << c;
    EXPECT_EQ(!matches(inside, text).empty(), is_white_space(c) || c == 'x') << std::hex << c;
    EXPECT_EQ(matches(negated, text).empty(), is_white_space(c)) << std::hex << c;
    EXPECT_EQ(matches(upper, text).empty(), is_white_space(c)) << std::hex << c;
  }
}

TEST(SplitPattern, TakesALiteralTextAsItIs) {
  const SplitPattern pattern = SplitPattern::literal(R"(a.(\s*#)");
  EXPECT_EQ(matches(pattern, R"(xa.(\s*#ya.(\s*#abc)").size(), 2u);
}

TEST(SplitPattern, MatchesRunsOfAMillionCharacters) {
  const SplitPattern pattern(kGpt2SplitPattern);
  const std::string spaces(1 << 20, ' ');
  EXPECT_EQ(matches(pattern, spaces + "x"), (std::vector<std::string>{spaces.substr(1), " x"}));
  EXPECT_EQ(matches(pattern, spaces).size(), 1u);
  EXPECT_EQ(matches(pattern, std::string(1 << 20, 'x')).size(), 1u);
  EXPECT_EQ(matches(pattern, std::string(1 << 20, '!')).size(), 1u);
}

TEST(SplitPattern, ReportsAPatternThatBacktracksWithoutEnd) {
  const SplitPattern pattern("(?:a+a+)+[bc]");
  EXPECT_THROW(matches(pattern, std::string(5000, 'a')), UserError);
}

}  // namespace
}  // namespace trireme
