// The claim of the whole program: whatever the layout, every gradient and the loss are those of one rank. Random models
// on random layouts, as threads, against the same step on one rank; and the mistakes of plants.h, each of which must
// show on them. (Under mpirun: layout_mpi_main.cc.)
#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/trainer/layout/drawn_layout.h"
#include "tests/trainer/layout/one_rank.h"
#include "tests/trainer/layout/preconditions.h"
#include "tests/trainer/verify/plants.h"

namespace trireme {
namespace {

// As rc::check, with this many cases unless RC_PARAMS asks for another number.
void check_cases(int cases, const std::function<void()>& property) {
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  if (params.maxSuccess == rc::detail::TestParams().maxSuccess) params.maxSuccess = cases;
  const auto result = rc::detail::checkTestable(property, rc::detail::TestMetadata(), params);
  rc::detail::printResultMessage(result, std::cerr);
  EXPECT_TRUE(result.template is<rc::detail::SuccessResult>());
}

std::string wrong_with(const DrawnLayout& drawn, OneRank& one, const TrialSeams* seams = nullptr) {
  return one.wrong_with(run_trial(one.experiment(), drawn.layout, one.options(seams)));
}

// With streams that run as late as events allow, in a shuffled order: what is not ordered by an event shows.
std::string wrong_with_lazy_streams(const DrawnLayout& drawn, OneRank& one) {
  TrialOptions options = one.options();
  options.host.streams = StreamMode::kLazy;
  options.host.shuffle_seed = drawn.experiment.seed;
  const std::string wrong = one.wrong_with(run_trial(one.experiment(), drawn.layout, options));
  return wrong.empty() ? "" : "on lazy streams " + wrong;
}

// RapidCheck tries a case that fails again, to shrink it and to tell of it. What comes of the order of threads may be
// gone by then, and what hangs takes a minute each time: so what was wrong with a case is told at once and kept.
class Failures {
 public:
  // "" or what is wrong with the case. Nothing new is tried once shrinking has taken kShrinking.
  std::string of(const DrawnLayout& drawn, const std::function<std::string()>& try_it) {
    std::ostringstream name;
    name << drawn;
    if (const auto known = wrong_.find(name.str()); known != wrong_.end()) return known->second;
    if (first_ && Clock::now() - *first_ > kShrinking) return "";
    const std::string wrong = try_it();
    if (wrong.empty()) return "";
    if (!first_) first_ = Clock::now();
    wrong_[name.str()] = wrong;
    std::cout << name.str() << ": " << wrong << std::endl;
    return wrong;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kShrinking{60};
  std::map<std::string, std::string> wrong_;  // by case
  std::optional<Clock::time_point> first_;    // when the first failed
};

TEST(Layout, IsNotPartOfTheExperiment) {
  Coverage coverage;
  Failures failures;
  double nearest = 0;
  check_cases(300, [&] {
    const DrawnLayout drawn = *draw_layout(8);
    coverage.add(drawn);
    const std::string wrong = failures.of(drawn, [&] {
      OneRank one(drawn);
      const bool lazy = drawn.experiment.seed % 2 == 1;
      std::string found = lazy ? wrong_with_lazy_streams(drawn, one) : wrong_with(drawn, one);
      nearest = std::max(nearest, one.nearest());
      return found;
    });
    if (!wrong.empty()) RC_FAIL(wrong);
  });
  std::cout << coverage.table() << "the gradient nearest to its bound: " << nearest << " of it\n";
  if (HasFailure()) return;  // it did not come to all cases
  for (const std::string& what : coverage.missing()) ADD_FAILURE() << "never drawn: " << what;
}

class PlantedLayout : public testing::TestWithParam<std::size_t> {};

// Cases on which the mistake can matter, until it shows; without it they hold.
TEST_P(PlantedLayout, IsFoundWhereItCanMatterAndNothingWithoutIt) {
  const Plant& plant = all_plants()[GetParam()];
  constexpr int kMostCases = 3;
  constexpr int kMostRanks = 4;
  int tried = 0;
  for (std::uint64_t seed = 1; tried < kMostCases; ++seed) {
    ASSERT_LT(seed, 10000u) << "no case on which " << plant.name << " can matter";
    const DrawnLayout drawn = drawn_layout(seed, kMostRanks);
    if (!can_matter(plant.name, drawn)) continue;
    ++tried;
    OneRank one(drawn);
    ASSERT_EQ(wrong_with(drawn, one), "") << drawn;
    const std::string wrong = wrong_with(drawn, one, &plant.seams);
    if (wrong.empty()) continue;
    std::cout << plant.name << ", on case " << tried << ": " << wrong << "\n";
    return;
  }
  FAIL() << plant.name << " (" << plant.mistake << ") was found on none of " << tried << " cases";
}

std::string plant_name(const testing::TestParamInfo<std::size_t>& info) {
  std::string name = all_plants()[info.param].name;
  for (char& letter : name)
    if (letter == '-') letter = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, PlantedLayout, testing::Range<std::size_t>(0, all_plants().size()), plant_name);

// The ways in which ranks and their streams meet, a case of each: what ThreadSanitizer is shown (tests/run).
struct Meeting {
  const char* name;
  bool (*is_one)(const DrawnLayout&);
};
using Case = const DrawnLayout&;
bool reduces(Case of, int zero_stage) {
  return of.layout.mesh.dp > 1 && of.layout.zero_stage == zero_stage && of.micro_batches() > 1;
}
bool pipelines(Case of, config::Pipeline::Schedule schedule) {
  return of.layout.mesh.pp > 1 && of.layout.schedule == schedule && of.micro_batches() > 1;
}
constexpr Meeting kMeetings[] = {
    {"zero_0", [](Case of) { return reduces(of, 0); }},
    {"zero_1", [](Case of) { return reduces(of, 1); }},
    {"zero_2", [](Case of) { return reduces(of, 2); }},
    {"zero_3", [](Case of) { return reduces(of, 3); }},
    {"zero_3_exact", [](Case of) { return reduces(of, 3) && of.experiment.numerics == config::exact; }},
    {"tp", [](Case of) { return of.layout.mesh.tp > 2 && of.experiment.model.kv_heads() < of.layout.mesh.tp; }},
    {"gpipe", [](Case of) { return pipelines(of, config::Pipeline::gpipe); }},
    {"one_f_one_b", [](Case of) { return pipelines(of, config::Pipeline::one_f_one_b); }},
    {"interleaved", [](Case of) { return pipelines(of, config::Pipeline::interleaved_1f1b) && of.layout.chunks > 1; }},
    {"zero_3_in_stages", [](Case of) { return reduces(of, 3) && of.layout.mesh.pp > 1; }},
    {"zero_2_beside_tp", [](Case of) { return reduces(of, 2) && of.layout.mesh.tp > 1; }},
    {"all_axes", [](Case of) { return of.layout.mesh.dp > 1 && of.layout.mesh.pp > 1 && of.layout.mesh.tp > 1; }},
};

class RacingLayout : public testing::TestWithParam<Meeting> {};

TEST_P(RacingLayout, IsOneRanks) {
  std::uint64_t seed = 1;
  while (!GetParam().is_one(drawn_layout(seed, 8))) ASSERT_LT(++seed, 10000u) << GetParam().name;
  const DrawnLayout drawn = drawn_layout(seed, 8);
  OneRank one(drawn);
  EXPECT_EQ(wrong_with(drawn, one), "") << drawn;
  EXPECT_EQ(wrong_with_lazy_streams(drawn, one), "") << drawn;
}

std::string meeting_name(const testing::TestParamInfo<Meeting>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(All, RacingLayout, testing::ValuesIn(kMeetings), meeting_name);

}  // namespace
}  // namespace trireme
