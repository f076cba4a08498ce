// Replays the fuzzers' seeds. They are committed; when a format changes, run Seeds.* with TRIREME_WRITE_SEEDS=1.
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/paths.h"
#include "tests/trainer/checkpoint/exercise.h"
#include "tests/trainer/checkpoint/scratch.h"

namespace trireme {
namespace {

const std::filesystem::path kHere = std::filesystem::path(TRIREME_SOURCE_DIR) / "tests/trainer/checkpoint";
const std::filesystem::path kSafetensorsSeeds = kHere / "safetensors_seeds";
const std::filesystem::path kManifestSeeds = kHere / "checkpoint_manifest_seeds";

std::string with_length(const std::string& text, std::size_t data) {
  std::string length(8, '\0');
  for (std::size_t byte = 0; byte < 8; ++byte) length[byte] = static_cast<char>(text.size() >> (8 * byte) & 0xFF);
  return length + text + std::string(data, '\x7F');
}

void write_seeds() {
  const ScratchFolder folder;
  for (const bool gpt2 : {false, true}) {
    const std::string family = gpt2 ? "gpt2" : "llama";
    const Model model{.specs = small_model(gpt2), .dtype = DType::kBF16};
    ASSERT_EQ(save_model(folder.path() / family, model).error, "");
    const std::filesystem::path saved = folder.path() / family / "step-00000100";
    write_bytes(kSafetensorsSeeds / (family + ".safetensors"), read_bytes(saved / "model.safetensors"));
    write_bytes(kManifestSeeds / (family + ".textproto"), read_bytes(saved / "manifest.textproto"));
  }
  write_bytes(kSafetensorsSeeds / "empty", "");
  write_bytes(kSafetensorsSeeds / "no-tensors", with_length("{}  ", 0));
  write_bytes(kSafetensorsSeeds / "scalar-and-nothing",
              with_length(R"({"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                          R"("b":{"dtype":"F16","shape":[0,3],"data_offsets":[8,8]}})",
                          8));
  write_bytes(kSafetensorsSeeds / "overflow",
              with_length(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0));
  write_bytes(kSafetensorsSeeds / "nested",
              with_length("{\"a\":" + std::string(64, '[') + std::string(64, ']') + "}", 0));
  write_bytes(kManifestSeeds / "empty", "");
  write_bytes(kManifestSeeds / "nested", "x\ntensor_files { tensors { tensor_files {");
}

TEST(CheckpointSeeds, EverySeedEndsInValuesOrInAnError) {
  if (std::getenv("TRIREME_WRITE_SEEDS")) write_seeds();
  EXPECT_GE(replay_seeds(kSafetensorsSeeds, exercise_safetensors), 7);
  EXPECT_GE(replay_seeds(kManifestSeeds, exercise_checkpoint_manifest), 4);
}

}  // namespace
}  // namespace trireme
