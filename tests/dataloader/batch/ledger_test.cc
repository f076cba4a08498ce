#include "dataloader/batch/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "monitoring/error.h"
#include "tests/dataloader/shard/folder.h"
#include "tests/dataloader/shard/full_disk.h"

namespace trireme {

using ::testing::HasSubstr;

namespace {

class LedgerTest : public ::testing::Test {
 protected:
  void fill(int steps) const {
    Ledger ledger(path_);
    for (int step = 0; step < steps; ++step) ledger.append({step, step * 8, step * 8 + 8});
  }
  ScratchFolder folder_;
  std::filesystem::path path_ = folder_.path() / "ledger.jsonl";
};

}  // namespace

TEST_F(LedgerTest, WritesALineAStepThatScriptsCanRead) {
  fill(2);
  EXPECT_EQ(read_bytes(path_), "{\"step\":0,\"begin\":0,\"end\":8}\n{\"step\":1,\"begin\":8,\"end\":16}\n");
  EXPECT_EQ(read_ledger(path_), (std::vector<LedgerLine>{{0, 0, 8}, {1, 8, 16}}));
}

TEST_F(LedgerTest, EveryTornLastLineIsCutWhenItIsOpened) {
  fill(3);
  const std::string whole = read_bytes(path_);
  const std::size_t two_lines = whole.find('\n', whole.find('\n') + 1) + 1;
  for (std::size_t size = two_lines; size < whole.size(); ++size) {
    write_bytes(path_, whole.substr(0, size));
    EXPECT_EQ(read_ledger(path_).size(), 2u);
    Ledger(path_).append({2, 16, 24});
    ASSERT_EQ(read_bytes(path_), whole) << "torn at byte " << size;
  }
}

TEST_F(LedgerTest, CutBackToACursorAndGoneOnItHoldsEachSampleOnce) {
  fill(10);
  for (const std::int64_t resumed : {7, 7, 3, 0}) {
    Ledger ledger(path_);
    ledger.truncate_to(resumed * 8);
    EXPECT_EQ(read_ledger(path_).size(), static_cast<std::size_t>(resumed));
    for (std::int64_t step = resumed; step < 10; ++step) ledger.append({step, step * 8, step * 8 + 8});
    const auto lines = read_ledger(path_);
    EXPECT_EQ(lines.size(), 10u);
    check_each_sample_once(lines, path_);
  }
}

TEST_F(LedgerTest, ACursorInsideAStepIsRefusedAndNothingIsCut) {
  fill(3);
  const std::string whole = read_bytes(path_);
  EXPECT_THAT(message_of<DamagedDataError>([&] { Ledger(path_).truncate_to(12); }), HasSubstr("line 2"));
  EXPECT_EQ(read_bytes(path_), whole);
}

TEST_F(LedgerTest, GapsRepetitionsAndSkippedStepsAreNamedByTheirLine) {
  const auto complaint = [&](std::vector<LedgerLine> lines) {
    return message_of<DamagedDataError>([&] { check_each_sample_once(lines, path_); });
  };
  EXPECT_EQ(complaint({{0, 0, 8}, {1, 8, 16}}), "");
  EXPECT_THAT(complaint({{0, 0, 8}, {1, 9, 16}}), HasSubstr("line 2"));
  EXPECT_THAT(complaint({{0, 0, 8}, {1, 0, 8}}), HasSubstr("line 2"));
  EXPECT_THAT(complaint({{0, 0, 8}, {2, 8, 16}}), HasSubstr("line 2: step 2 comes after step 0"));
  EXPECT_THAT(complaint({{0, 8, 16}}), HasSubstr("line 1"));
}

TEST_F(LedgerTest, ALineThatIsNoLineIsNamed) {
  for (const char* line :
       {"noise", "{}", "[1]", "{\"step\":0,\"begin\":0,\"end\":0.5}", "{\"step\":0,\"begin\":8,\"end\":8}",
        "{\"step\":0,\"begin\":0,\"end\":99999999999999999999}"}) {
    write_bytes(path_, std::string("{\"step\":0,\"begin\":0,\"end\":8}\n") + line + "\n");
    EXPECT_THAT(message_of<DamagedDataError>([&] { read_ledger(path_); }), HasSubstr("line 2")) << line;
  }
}

TEST_F(LedgerTest, OnAFullDiskNoHalfLineStays) {
  fill(2);
  const std::string before = read_bytes(path_);
  {
    Ledger ledger(path_);
    const FullDisk full(before.size() + 10);
    EXPECT_THAT(message_of<UserError>([&] { ledger.append({2, 16, 24}); }), HasSubstr("cannot append to the ledger"));
  }
  EXPECT_EQ(read_bytes(path_), before);
  Ledger(path_).append({2, 16, 24});
  EXPECT_EQ(read_ledger(path_).size(), 3u);
}

TEST_F(LedgerTest, AFolderThatIsNotThereIsTheUsersMistake) {
  EXPECT_THAT(message_of<UserError>([&] { Ledger ledger(folder_.path() / "absent" / "ledger.jsonl"); }),
              HasSubstr("absent/ledger.jsonl"));
}

}  // namespace trireme
