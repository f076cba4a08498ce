#include "monitoring/check.h"

#include <gtest/gtest.h>

namespace trireme {

TEST(CheckDeathTest, AFailureNamesRankStepConditionAndValues) {
  whereabouts() = {.rank = 3, .step = 17};
  const int rows = -2;
  EXPECT_DEATH(CHECK(rows > 0, "rows = ", rows),
               "a bug on rank 3 in step 17: .*check_test.cc:.*CHECK\\(rows > 0\\) failed: rows = -2");
}

}  // namespace trireme
