#include "parallel/pipeline/recomputation.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

using config::full;
using config::none;
using config::selective;

TEST(Recomputation, IsOneChoiceForAllRanksOrOneForEach) {
  const Recomputation all = full;
  for (int rank = 0; rank < 5; ++rank) EXPECT_EQ(all.of(rank), full);
  EXPECT_TRUE(all.fits(7));
  const Recomputation each({full, selective, none});
  EXPECT_EQ(each.of(0), full);
  EXPECT_EQ(each.of(2), none);
  EXPECT_TRUE(each.fits(3));
  EXPECT_FALSE(each.fits(2));
  EXPECT_DEATH(each.of(3), "rank 3 of the pipeline, of 3");
}

TEST(Recomputation, OfEqualChoicesIsThatChoice) {
  EXPECT_EQ(Recomputation({full, full}), Recomputation(full));
  EXPECT_FALSE(Recomputation({none, none, none}).any());
  EXPECT_TRUE(Recomputation({none, selective}).any());
}

TEST(Recomputation, OfFewerRanksKeepsChoicesApart) {
  EXPECT_EQ(Recomputation({full, full, none, none}).over(3), Recomputation({full, none, none}));
  EXPECT_EQ(Recomputation({none, none, none, selective}).over(2), Recomputation({none, selective}));
  EXPECT_EQ(Recomputation({none, full, selective, none}).over(3), Recomputation({none, full, selective}));
  EXPECT_EQ(Recomputation({none, full, selective, none}).over(2), Recomputation({full, selective}));
  EXPECT_EQ(Recomputation({none, selective, full}).over(1), Recomputation(full));
  EXPECT_EQ(Recomputation(selective).over(9), Recomputation(selective));
}

TEST(Recomputation, PrintsAsConfigurationsSayIt) {
  EXPECT_EQ(to_string(Recomputation()), "none");
  EXPECT_EQ(to_string(Recomputation({full, none})), "[full, none]");
}

}  // namespace
}  // namespace trireme
