// A save appears whole or not at all; one that fails is reported, leaves the older ones alone and the next one works.
#include <algorithm>
#include <memory>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include "monitoring/error.h"
#include "tests/dataloader/shard/full_disk.h"
#include "tests/trainer/checkpoint/scratch.h"
#include "trainer/checkpoint/commit.h"
#include "trainer/checkpoint/digest.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Model model_at(std::int64_t step) { return {.specs = small_model(false), .seed = 5, .step = step}; }

TEST(Save, KeepsTheLastAndEveryMth) {
  const ScratchFolder folder;
  for (std::int64_t step = 100; step <= 700; step += 100)
    ASSERT_EQ(
        save_model(folder.path(), model_at(step), alone(), kMaxFileBytes, {.keep_last = 2, .keep_every = 300}).error,
        "");
  EXPECT_THAT(names_in(folder.path()),
              ElementsAre("LATEST", "attempt", "step-00000300", "step-00000600", "step-00000700"));
}

TEST(Save, KeepsWhatIsNewerThanTheCommit) {
  const ScratchFolder folder;
  for (const std::int64_t step : {300, 100, 200})
    ASSERT_EQ(save_model(folder.path(), model_at(step), alone(), kMaxFileBytes, {.keep_last = 1}).error, "");
  EXPECT_THAT(names_in(folder.path()), ElementsAre("LATEST", "attempt", "step-00000200", "step-00000300"));
}

TEST(Save, ReplacesACheckpointOfTheSameStep) {
  const ScratchFolder folder;
  Model model = model_at(100);
  ASSERT_EQ(save_model(folder.path(), model).error, "");
  model.seed = 6;
  ASSERT_EQ(save_model(folder.path(), model).error, "");
  EXPECT_EQ(load_model(folder.path(), model).step, 100);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("LATEST", "attempt", "step-00000100"));
}

TEST(Save, CollectsLeftoversAndPutsBackWhatWasMovedAside) {
  const ScratchFolder folder;
  ASSERT_EQ(save_model(folder.path(), model_at(100)).error, "");
  fs::rename(folder.path() / "step-00000100", folder.path() / ".step-00000100.replaced");
  fs::create_directories(folder.path() / ".step-00000200.attempt-1");
  write_bytes(folder.path() / ".step-00000200.attempt-1/model.safetensors", "half");
  fs::create_directories(folder.path() / ".step-00000050.removed");
  ASSERT_EQ(save_model(folder.path(), model_at(300)).error, "");
  EXPECT_THAT(names_in(folder.path()), ElementsAre("LATEST", "attempt", "step-00000100", "step-00000300"));
  fs::remove_all(folder.path() / "step-00000300");
  EXPECT_EQ(load_model(folder.path(), model_at(100)).step, 100);
}

TEST(Save, ALowerAttemptIsRefusedAndAnOvertakenOneDoesNotCommit) {
  const ScratchFolder folder;
  ASSERT_EQ(save_model(folder.path(), model_at(100), alone(), kMaxFileBytes, {}, 3).error, "");
  expect_ranks(2, {}, [&](LocalRank& rank) {
    const Model model = model_at(200);
    HeldModel held(rank, model, grid(1, 1, 2), HeldModel::Fill::kValues);
    const auto begin = [&](int attempt) {
      return std::make_unique<CheckpointSaver>(held.context(), rank.comm(), folder.path(), Retention{}, attempt);
    };
    EXPECT_THAT(message_of<UserError>([&] { begin(2); }),
                HasSubstr("belongs to attempt 3 by now, and this is attempt 2"));
    const auto stale = begin(4);
    stale->save(held.state());
    stale->wait();
    rank.comm().gather_to_all("", {0, "written"});
    if (rank.rank() == 0) claim_attempt(folder.path(), 5);  // another job, elsewhere
    EXPECT_THAT(stale->finish().error, HasSubstr("attempt 5 has taken"));
    stale->save(held.state());
    EXPECT_THAT(stale->finish().error, HasSubstr("attempt 5 has taken"));
  });
  EXPECT_EQ(load_model(folder.path(), model_at(100)).step, 100);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("LATEST", "attempt", "step-00000100"));
}

TEST(Save, AVetoIsReportedAndNothingIsWritten) {
  const ScratchFolder folder;
  const Model model = model_at(100);
  expect_ranks(2, {}, [&](LocalRank& rank) {
    HeldModel held(rank, model, grid(1, 1, 2), HeldModel::Fill::kValues);
    CheckpointSaver saver(held.context(), rank.comm(), folder.path(), {}, 1);
    CheckpointState state = held.state();
    if (rank.rank() == 0) state.veto = "the ledger is not durable";
    saver.save(state);
    EXPECT_THAT(saver.finish().error, HasSubstr("the ledger is not durable"));
  });
  EXPECT_THAT(names_in(folder.path()), ElementsAre("attempt"));
}

TEST(Save, IsDroppedByTheDestructorWhereItWasNotFinished) {
  const ScratchFolder folder;
  const Model model = model_at(100);
  expect_ranks(1, {}, [&](LocalRank& rank) {
    HeldModel held(rank, model, alone(), HeldModel::Fill::kValues);
    CheckpointSaver saver(held.context(), rank.comm(), folder.path(), {}, 1);
    EXPECT_EQ(saver.state(), CheckpointSaver::State::kIdle);
    saver.save(held.state());
    saver.wait();
    EXPECT_EQ(saver.state(), CheckpointSaver::State::kWritten);
  });
  EXPECT_THAT(names_in(folder.path()), ElementsAre("attempt"));
}

// Saves at 200 in `folder`, which holds a good one of 100, with something in the way; then without.
template <class Obstacle>
std::string failed_save(const fs::path& folder, int ranks, const Obstacle& obstacle) {
  std::string error;
  const auto places = grid(1, 1, ranks);
  expect_ranks(ranks, {}, [&](LocalRank& rank) {
    const Model model = model_at(200);
    HeldModel held(rank, model, places, HeldModel::Fill::kValues);
    CheckpointSaver saver(held.context(), rank.comm(), folder, {}, 1);
    const auto meet = [&](const char* call) { rank.comm().gather_to_all("", {0, call}); };
    meet("before");
    {
      std::unique_ptr<decltype(obstacle())> in_the_way;
      if (rank.rank() == 0) in_the_way.reset(new auto(obstacle()));
      meet("obstacle");
      saver.save(held.state());
      const CheckpointSaver::Outcome outcome = saver.finish();
      if (rank.rank() == 0) error = outcome.error;
      meet("failed");
    }
    meet("way is free");
    if (rank.rank() == 0) {
      EXPECT_THAT(names_in(folder), ElementsAre("LATEST", "attempt", "step-00000100"));
    }
    meet("looked");
    EXPECT_EQ(load_checkpoint(held.context(), rank.comm(), folder / "step-00000100", held.state()).step, 100);
    saver.save(held.state());
    EXPECT_EQ(saver.finish().error, "");
  });
  EXPECT_EQ(load_model(folder, model_at(200)).step, 200);
  return error;
}

TEST(Save, AFileThatMayNotGrowIsReportedAndTheNextSaveWorks) {
  for (const int ranks : {1, 3}) {
    const ScratchFolder folder;
    ASSERT_EQ(save_model(folder.path(), model_at(100)).error, "");
    const std::string error = failed_save(folder.path(), ranks, [] { return FullDisk(1000); });
    EXPECT_THAT(error,
                AllOf(HasSubstr("no room for the "), HasSubstr("model.safetensors"), HasSubstr("File too large")));
  }
}

// Takes a file of the save away after its room was taken.
class RemovesAFile : public RunObserver {
 public:
  explicit RemovesAFile(fs::path path) : path_(std::move(path)) {}
  void enter(RunPhase phase, std::int64_t) override {
    if (phase == RunPhase::kWriting) fs::remove(path_);
  }

 private:
  fs::path path_;
};

TEST(Save, ADiskThatFailsWhileWritingIsReportedByRank) {
  const ScratchFolder folder;
  ASSERT_EQ(save_model(folder.path(), model_at(100)).error, "");
  std::vector<std::string> errors(2);
  expect_ranks(2, {}, [&](LocalRank& rank) {
    const Model model = model_at(200);
    HeldModel held(rank, model, grid(1, 1, 2), HeldModel::Fill::kValues);
    RemovesAFile thief(folder.path() / ".step-00000200.attempt-1/second_moment.safetensors");
    CheckpointSaver saver(held.context(), rank.comm(), folder.path(), {}, 1);
    if (rank.rank() == 1) saver.set_observer(&thief);
    saver.save(held.state());
    errors[static_cast<std::size_t>(rank.rank())] = saver.finish().error;
  });
  EXPECT_THAT(errors,
              Each(AllOf(HasSubstr("rank "), HasSubstr("second_moment.safetensors"), HasSubstr("No such file"))));
  EXPECT_EQ(load_model(folder.path(), model_at(100)).step, 100);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("LATEST", "attempt", "step-00000100"));
}

TEST(Save, BytesThatAreReadBackDifferentlyAreLocated) {
  const ScratchFolder folder;
  const fs::path path = folder.path() / "file";
  const std::string bytes(kDigestBlockBytes + 100, 'x');
  const std::vector<std::string> digests = block_digests(std::as_bytes(std::span(bytes)));
  const auto damage = [&] {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const std::string found = damaged_block(file, 7, bytes.size(), digests);
    ::close(file);
    return found;
  };
  write_bytes(path, "before " + bytes + "after");
  EXPECT_EQ(damage(), "");
  flip_bit(path, 7 + kDigestBlockBytes + 1);
  EXPECT_THAT(damage(), HasSubstr("bytes 1048576 to 1048675 of it do not have the manifest's digest"));
  fs::resize_file(path, 7 + kDigestBlockBytes + 50);
  EXPECT_THAT(damage(), HasSubstr("bytes 1048576 to 1048675 of it end at byte 1048633 of the file"));
}

// A file system of a few KiB; needs root.
class TinyDisk {
 public:
  explicit TinyDisk(const fs::path& path) : path_(path) {
    fs::create_directories(path);
    mounted_ = ::mount("trireme", path.c_str(), "tmpfs", 0, "size=96k") == 0;
  }
  ~TinyDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }

 private:
  fs::path path_;
  bool mounted_ = false;
};

TEST(Save, AFullDiskIsReportedAndTheNextSaveWorks) {
  const ScratchFolder folder;
  const TinyDisk disk(folder.path() / "disk");
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small tmpfs needs root";
  const fs::path run = folder.path() / "disk/checkpoints";
  ASSERT_EQ(save_model(run, model_at(100)).error, "");
  struct Ballast {
    fs::path path;
    explicit Ballast(const fs::path& at) : path(at) { write_bytes(at, std::string(96 << 10, 'x')); }
    ~Ballast() { fs::remove(path); }
  };
  const std::string error = failed_save(run, 2, [&] { return Ballast(folder.path() / "disk/ballast"); });
  EXPECT_THAT(error, HasSubstr("No space left on device"));
}

}  // namespace
}  // namespace trireme
