// A checkpoint has no layout: whoever writes it, the bytes are the same, and whoever reads it gets its own boxes.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "parallel/placement/file_boxes.h"
#include "tests/trainer/checkpoint/scratch.h"
#include "trainer/checkpoint/file_copy.h"
#include "trainer/checkpoint/safetensors.h"
#include "trainer/checkpoint/snapshot.h"

namespace trireme {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Key;
using testing::UnorderedElementsAre;

void expect_same_files(const std::filesystem::path& one, const std::filesystem::path& other) {
  const auto a = files_of(one), b = files_of(other);
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, bytes] : a) {
    ASSERT_TRUE(b.contains(name)) << name;
    EXPECT_TRUE(bytes == b.at(name)) << name << " differs";
  }
}

// tp x dp x replicas, of at most four ranks.
std::vector<AxisPlaces> any_grid() {
  const auto tp = *rc::gen::inRange<std::int64_t>(1, 5);
  const auto dp = tp == 1 ? *rc::gen::inRange<std::int64_t>(1, 5) : tp == 2 ? *rc::gen::inRange<std::int64_t>(1, 3) : 1;
  const auto replicas = tp * dp == 1   ? *rc::gen::inRange<std::int64_t>(1, 5)
                        : tp * dp == 2 ? *rc::gen::inRange(1, 3)
                                       : 1;
  return grid(tp, dp, replicas);
}

void any_cuts_and_ranks() {
  Model model{.specs = small_model(*rc::gen::arbitrary<bool>())};
  model.dtype = *rc::gen::element(DType::kF32, DType::kBF16, DType::kF16);
  model.seed = *rc::gen::inRange<std::uint64_t>(1, 1000);
  const std::uint64_t max_file_bytes = *rc::gen::element<std::uint64_t>(1, 300, 1000, kMaxFileBytes);
  const ScratchFolder folder;
  RC_ASSERT(save_model(folder.path() / "one", model, alone(), max_file_bytes).error == "");

  Model cut = model;
  for (ParamSpec& spec : cut.specs) {
    const auto cuts = *rc::gen::inRange(0, 3);
    for (int i = 0; i < cuts; ++i)
      spec.cuts.push_back({*rc::gen::inRange(0, spec.shape.dims()), i == 0 ? Axis::kTp : Axis::kDp});
  }
  cut.runs = *rc::gen::arbitrary<bool>();
  cut.staged = *rc::gen::arbitrary<bool>();
  RC_ASSERT(save_model(folder.path() / "many", cut, any_grid(), max_file_bytes).error == "");
  expect_same_files(folder.path() / "one/step-00000100", folder.path() / "many/step-00000100");

  cut.runs = *rc::gen::arbitrary<bool>();
  cut.staged = *rc::gen::arbitrary<bool>();
  const Loaded loaded = load_model(folder.path() / "one", cut, any_grid());
  RC_ASSERT(loaded.step == 100);
  RC_ASSERT(loaded.passed_over.empty());
  RC_ASSERT(!testing::Test::HasFailure());
}

// Each case saves and loads a dozen files durably: a few cases, with cuts that are drawn anew.
TEST(Layout, AnyCutsAndRanksWriteTheSameBytesAndReadTheirOwn) {
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  params.maxSuccess = std::min(params.maxSuccess, 20);
  const auto result = rc::detail::checkTestable(&any_cuts_and_ranks, rc::detail::TestMetadata{}, params);
  std::ostringstream text;
  rc::detail::printResultMessage(result, text);
  EXPECT_TRUE(result.is<rc::detail::SuccessResult>()) << text.str();
}

TEST(Layout, FilesAreTheOnesThatTheHeaderNames) {
  const ScratchFolder folder;
  ASSERT_EQ(save_model(folder.path(), {.specs = small_model(true), .dtype = DType::kBF16}).error, "");
  EXPECT_THAT(files_of(folder.path() / "step-00000100"),
              UnorderedElementsAre(Key("model.safetensors"), Key("master.safetensors"), Key("first_moment.safetensors"),
                                   Key("second_moment.safetensors"), Key("config.json"), Key("tokenizer.json"),
                                   Key("manifest.textproto")));
  EXPECT_EQ(read_bytes(folder.path() / "LATEST"), "step-00000100\n");

  ASSERT_EQ(save_model(folder.path() / "fp32", {.specs = small_model(true)}, alone(), 600).error, "");
  const auto files = files_of(folder.path() / "fp32/step-00000100");
  EXPECT_FALSE(files.contains("master.safetensors") || files.contains("master-00001-of-00003.safetensors"));
  EXPECT_TRUE(files.contains("model-00001-of-00003.safetensors"));
  EXPECT_THAT(files.at("model.safetensors.index.json"), HasSubstr("\"c_fc\": \"model-00003-of-00003.safetensors\""));
}

TEST(Layout, TensorsLieInTheFileAsHuggingFaceHasThem) {
  const ScratchFolder folder;
  const Model model{.specs = small_model(true)};
  ASSERT_EQ(save_model(folder.path(), model).error, "");
  const SafetensorsFile file(folder.path() / "step-00000100/model.safetensors");
  std::vector<std::string> names;
  for (const SafetensorsEntry& entry : file.entries()) names.push_back(entry.name);
  ASSERT_THAT(names, ElementsAre("wte", "ln", "c_attn", "c_fc"));
  // c_attn [hidden 6, 24]: column j of row i is Q's row j for j < 12, then K's, then V's; column i of ours.
  const auto bytes = file.bytes_of_entry(file.entries()[2]);
  for (std::int64_t i = 0; i < 6; ++i)
    for (std::int64_t j = 0; j < 24; ++j) {
      float value = 0;
      std::memcpy(&value, bytes.data() + 4 * (24 * i + j), 4);
      EXPECT_EQ(value, j < 12 ? value_of(model, 2, 0, 6 * j + i) : value_of(model, 3, 0, 6 * (j - 12) + i));
    }
}

TEST(Layout, TheSnapshotIsWhatIsStoredWhateverTheTensorsBecome) {
  const ScratchFolder folder;
  const Model model{.specs = small_model(false)};
  ASSERT_EQ(save_model(folder.path(), model, grid(1, 1, 2)).error, "");  // overwrites its tensors while writing
  EXPECT_EQ(load_model(folder.path(), model).step, 100);
}

TEST(Bf16, RoundsToNearestTiesToEven) {
  const auto rounded = [](std::uint32_t bits) { return round_to_bf16(std::bit_cast<float>(bits)); };
  EXPECT_EQ(rounded(0x3F808000), 0x3F80);  // a tie, down to even
  EXPECT_EQ(rounded(0x3F818000), 0x3F82);  // a tie, up to even
  EXPECT_EQ(rounded(0x3F808001), 0x3F81);
  EXPECT_EQ(rounded(0x3F807FFF), 0x3F80);
  EXPECT_EQ(rounded(0x00008000), 0x0000);  // subnormal
  EXPECT_EQ(rounded(0x00018000), 0x0002);
  EXPECT_EQ(rounded(0x7F7FFFFF), 0x7F80);  // past the largest: infinity
  EXPECT_EQ(rounded(0xFF800000), 0xFF80);
  EXPECT_EQ(rounded(0x7F800001), 0x7FC0);  // NaN stays NaN
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = from_bf16(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) continue;
    ASSERT_EQ(round_to_bf16(value), bits);
  }
}

TEST(Fp16, EveryValueIsItsDefinition) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const double fraction = (bits & 0x3FF) / 1024.0;
    if (exponent == 31) continue;
    const double value = (bits & 0x8000 ? -1 : 1) *
                         (exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15));
    ASSERT_EQ(from_fp16(static_cast<std::uint16_t>(bits)), value) << bits;
  }
  EXPECT_EQ(from_fp16(0xFC00), -std::numeric_limits<float>::infinity());
  EXPECT_NE(from_fp16(0x7C01), from_fp16(0x7C01));
}

TEST(Fp16, RoundsToNearestTiesToEven) {
  // Between any two neighbours, the last of which is past the largest: to the nearer one, in the middle to the even
  // one.
  for (std::uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const float low = from_fp16(static_cast<std::uint16_t>(bits));
    const float high = bits == 0x7BFF ? 65536 : from_fp16(static_cast<std::uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact
    ASSERT_EQ(round_to_fp16(low), bits);
    ASSERT_EQ(round_to_fp16(middle), bits + bits % 2) << low;
    ASSERT_EQ(round_to_fp16(std::nextafter(middle, 0.0f)), bits) << low;
    ASSERT_EQ(round_to_fp16(std::nextafter(middle, 1e6f)), bits + 1) << low;
    ASSERT_EQ(round_to_fp16(-middle), (bits + bits % 2) | 0x8000) << low;
  }
  EXPECT_EQ(round_to_fp16(std::numeric_limits<float>::infinity()), 0x7C00);
  EXPECT_EQ(round_to_fp16(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(round_to_fp16(std::bit_cast<float>(0x7F800001u)) & 0x7E00, 0x7E00);  // NaN stays NaN
}

}  // namespace
}  // namespace trireme
