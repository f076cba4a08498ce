// Replays the fuzzers' seeds.
#include <string>

#include <gtest/gtest.h>

#include "tests/launch/config/exercise.h"
#include "tests/paths.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

const std::string kHere = TRIREME_SOURCE_DIR "/tests/launch/config/";

TEST(ConfigurationSeeds, EveryOneEndsInAConfigurationOrInProblems) {
  EXPECT_GT(replay_seeds(kHere + "configuration_seeds", exercise_configuration), 5);
  EXPECT_GT(replay_seeds(kHere + "hugging_face_config_seeds", exercise_hugging_face_config), 5);
}

}  // namespace
}  // namespace trireme
