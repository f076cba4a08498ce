// Whatever is wrong with a checkpoint is named, and the one before it is used.
#include <cmath>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "monitoring/error.h"
#include "tests/trainer/checkpoint/scratch.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/checkpoint/safetensors.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

// Two checkpoints of the same values, so that either may be loaded.
class Damage : public testing::Test {
 protected:
  void SetUp() override {
    model_.dtype = DType::kBF16;
    for (model_.step = 100; model_.step <= 200; model_.step += 100)
      ASSERT_EQ(save_model(folder_.path(), model_).error, "");
  }
  fs::path newest() const { return folder_.path() / "step-00000200"; }

  // Of the newest, which was passed over for the other.
  std::string reason(const std::vector<AxisPlaces>& places = alone()) {
    const Loaded loaded = load_model(folder_.path(), model_, places);
    EXPECT_EQ(loaded.step, 100) << loaded.damaged << loaded.refused;
    if (loaded.passed_over.size() != 1) return "";
    EXPECT_EQ(loaded.passed_over[0].path, newest());
    return loaded.passed_over[0].reason;
  }

  ScratchFolder folder_;
  Model model_{.specs = small_model(true)};
};

TEST_F(Damage, NothingIsPassedOverWithout) {
  const Loaded loaded = load_model(folder_.path(), model_);
  EXPECT_EQ(loaded.step, 200);
  EXPECT_THAT(loaded.passed_over, IsEmpty());
}

TEST_F(Damage, ABitInATensorIsNamedWithFileTensorAndBytes) {
  for (const char* stem : {"model", "master", "first_moment", "second_moment"}) {
    const fs::path path = newest() / (std::string(stem) + ".safetensors");
    std::uint64_t at = 0;
    {
      const SafetensorsFile file(path);
      at = file.header_bytes().size() + file.entries()[2].begin + 5;
    }
    flip_bit(path, at);
    EXPECT_THAT(reason(), AllOf(HasSubstr(path.string()), HasSubstr("tensor c_attn"), HasSubstr("bytes 0 to ")));
    EXPECT_THAT(reason(grid(1, 1, 3)), HasSubstr("tensor c_attn"));  // whichever rank finds it
    flip_bit(path, at);
  }
}

TEST_F(Damage, ABitInALargeTensorIsLocatedToItsBlock) {
  constexpr std::int64_t kElements = 600'000;  // 3 blocks
  ParamSpec large;
  large.name = "large";
  large.shape = {kElements};
  large.row_dims = 0;
  large.files = {{"large", {kElements}, 0, 1, 0, 0, false}};
  large.cuts = {{0, Axis::kDp}};
  const Model model{.specs = {large}};
  const ScratchFolder folder;
  ASSERT_EQ(save_model(folder.path(), model, grid(1, 2)).error, "");  // each half in more than one message
  EXPECT_EQ(load_model(folder.path(), model).step, 100);
  const fs::path path = folder.path() / "step-00000100/model.safetensors";
  flip_bit(path, fs::file_size(path) - 1, 7);
  EXPECT_THAT(load_model(folder.path(), model).damaged,
              AllOf(HasSubstr("tensor large"), HasSubstr("bytes 2097152 to 2399999 of it")));
}

TEST_F(Damage, AnyBitAnywhereIsFoundAndItsFileNamed) {
  std::mt19937_64 random(2026);
  for (const auto& [name, bytes] : files_of(newest()))
    for (int flips = 0; flips < 12; ++flips) {
      const std::uint64_t at = flips == 0 ? 0 : flips == 1 ? bytes.size() - 1 : random() % bytes.size();
      const int bit = static_cast<int>(random() % 8);
      flip_bit(newest() / name, at, bit);
      EXPECT_THAT(reason(), HasSubstr((newest() / name).string())) << "byte " << at << ", bit " << bit;
      flip_bit(newest() / name, at, bit);
    }
}

TEST_F(Damage, AHeaderIsNamedWithItsBytes) {
  const fs::path path = newest() / "master.safetensors";
  const std::string bytes = read_bytes(path);
  flip_bit(path, bytes.find("wte"));  // another name, and sound JSON
  EXPECT_THAT(reason(), AllOf(HasSubstr("master.safetensors"), HasSubstr("bytes 0 to "), HasSubstr("header")));
}

TEST_F(Damage, ATruncatedMissingOrGrownFileIsNamed) {
  for (const auto& [name, bytes] : files_of(newest())) {
    const fs::path path = newest() / name;
    for (const std::size_t size : {std::size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      write_bytes(path, bytes.substr(0, size));
      EXPECT_THAT(reason(), HasSubstr(path.string())) << size;
    }
    write_bytes(path, bytes + "x");
    EXPECT_THAT(reason(), HasSubstr(path.string()));
    fs::remove(path);
    EXPECT_THAT(reason(), HasSubstr(path.string()));
    write_bytes(path, bytes);
  }
  fs::remove_all(newest());
  fs::create_directory(newest());
  EXPECT_THAT(reason(), HasSubstr("manifest.textproto"));
}

TEST_F(Damage, AWeightThatIsNotItsMasterRoundedIsNamed) {
  // Digests put right, as by a writer that rounds wrongly.
  const fs::path path = newest() / "model.safetensors";
  std::uint64_t at = 0;
  {
    const SafetensorsFile file(path);
    at = file.header_bytes().size() + file.entries()[0].begin + 2 * 7;
  }
  flip_bit(path, at);
  proto::CheckpointManifest manifest = read_checkpoint_manifest(newest());
  {
    const SafetensorsFile file(path);
    proto::CheckpointTensor& tensor = *manifest.mutable_tensor_files(0)->mutable_tensors(0);
    ASSERT_EQ(tensor.name(), "wte");
    tensor.set_block_digests(0, digest_of(file.bytes_of_entry(file.entries()[0])));
  }
  write_bytes(newest() / kCheckpointManifestFile, checkpoint_manifest_text(manifest));
  EXPECT_THAT(reason(), AllOf(HasSubstr("tensor wte"), HasSubstr("bytes 14 to 15"), HasSubstr("rounded")));
}

TEST_F(Damage, AManifestThatDoesNotFitItsFilesIsNamed) {
  const proto::CheckpointManifest good = read_checkpoint_manifest(newest());
  const auto with = [&](const auto& change) {
    proto::CheckpointManifest manifest = good;
    change(manifest);
    write_bytes(newest() / kCheckpointManifestFile, checkpoint_manifest_text(manifest));
    return reason();
  };
  EXPECT_THAT(with([](auto& m) { m.mutable_tensor_files(0)->mutable_tensors()->RemoveLast(); }),
              HasSubstr("its manifest names 3"));
  EXPECT_THAT(with([](auto& m) { m.mutable_tensor_files(0)->mutable_tensors(1)->set_name("wte"); }),
              HasSubstr("twice"));
  EXPECT_THAT(with([](auto& m) { m.mutable_tensor_files(0)->mutable_tensors(1)->set_name("other"); }),
              HasSubstr("no tensor other"));
  EXPECT_THAT(with([](auto& m) { m.mutable_tensor_files(0)->mutable_tensors(1)->clear_block_digests(); }),
              HasSubstr("0 digests"));
  EXPECT_THAT(with([](auto& m) { m.mutable_tensor_files(0)->set_name("../model.safetensors"); }),
              HasSubstr("not the name of a file"));
  EXPECT_THAT(with([](auto& m) { m.mutable_tensor_files(0)->set_name("master.safetensors"); }),
              HasSubstr("there twice"));
  EXPECT_THAT(with([](auto& m) { m.mutable_tensor_files(0)->set_header_digest("short"); }),
              HasSubstr("32 hexadecimal"));
  EXPECT_THAT(with([](auto& m) { m.mutable_tensor_files()->DeleteSubrange(2, 1); }),
              HasSubstr("no first_moment file holds"));
  EXPECT_THAT(with([](auto& m) { m.set_step(-1); }), HasSubstr("negative"));
}

TEST_F(Damage, WithoutAnyUsableOneAllAreNamed) {
  flip_bit(newest() / "config.json", 3);
  fs::remove(folder_.path() / "step-00000100/manifest.textproto");
  const Loaded loaded = load_model(folder_.path(), model_, grid(1, 1, 2));
  EXPECT_EQ(loaded.step, -1);
  EXPECT_THAT(loaded.damaged, AllOf(HasSubstr("none of the 2 checkpoints"), HasSubstr("step-00000200/config.json"),
                                    HasSubstr("step-00000100/manifest.textproto")));
  EXPECT_THAT(loaded.passed_over, SizeIs(2));
}

TEST_F(Damage, AnotherExperimentIsRefusedWithWhatDiffers) {
  model_.experiment = "model {\n  layers: 3\n}\nseed: 7\n";
  const Loaded loaded = load_model(folder_.path(), model_, grid(1, 1, 2));
  EXPECT_THAT(loaded.refused,
              AllOf(HasSubstr("step-00000200"), HasSubstr("- model.layers: 3"), HasSubstr("+ model.layers: 2")));
  EXPECT_THAT(loaded.refused, Not(HasSubstr("seed")));
  EXPECT_EQ(load_model(folder_.path() / "none", model_).step, -1);
}

TEST_F(Damage, WeightsAreReadFromAnyDirectoryAndMisfitsNamed) {
  expect_ranks(1, {}, [&](LocalRank& rank) {
    HeldModel held(rank, model_, alone(), HeldModel::Fill::kZeros);
    load_weights(held.context(), newest(), held.state().params);
    const std::vector<float> loaded = rank.read<float>(held.state().params[0].master);
    for (std::size_t i = 0; i < loaded.size(); ++i)
      EXPECT_NEAR(loaded[i], value_of(model_, 0, 0, static_cast<std::int64_t>(i)), std::abs(loaded[i]) / 256);

    Model other{.specs = small_model(false)};
    HeldModel llama(rank, other, alone(), HeldModel::Fill::kZeros);
    const auto load = [&](const fs::path& path) {
      return message_of<UserError>([&] { load_weights(llama.context(), path, llama.state().params); });
    };
    EXPECT_THAT(load(newest()), HasSubstr("has no tensor q_proj, which q needs"));
    EXPECT_THAT(load(folder_.path()), HasSubstr("holds no model*.safetensors"));
    other.specs[0].files[0].tensor_shape = {5, 5};
    EXPECT_THAT(load(newest()), HasSubstr("tensor wte is [11, 6] instead of [5, 5]"));
  });
}

}  // namespace
}  // namespace trireme
