#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "tests/launch/config/fuzz_bodies.h"
#include "tests/paths.h"

namespace trireme {
namespace {

int replay(const std::string& seeds, void (*fuzz)(const std::uint8_t*, std::size_t)) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(TRIREME_SOURCE_DIR) + "/tests/launch/config/" + seeds)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    fuzz(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ++files;
  }
  return files;
}

TEST(FuzzSeeds, OfTheConfigurationPass) { EXPECT_GT(replay("configuration_seeds", fuzz_configuration), 5); }
TEST(FuzzSeeds, OfTheHuggingFaceConfigPass) {
  EXPECT_GT(replay("hugging_face_config_seeds", fuzz_hugging_face_config), 5);
}

}  // namespace
}  // namespace trireme
