#include "monitoring/read_file.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "monitoring/error.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Longer than any block that a reader might read at once, and with every byte.
std::string all_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 131 >> 3);
  return bytes;
}

TEST(ReadFile, GivesEveryByteUpToTheLimitAndNoneBeyond) {
  const ScratchFolder folder;
  for (const std::size_t size : {0, 1, 65535, 65536, 65537, 200000}) {
    write_bytes(folder / "file", all_bytes(size));
    EXPECT_EQ(read_file(folder / "file", size), all_bytes(size));
    if (size == 0) continue;
    const FileBytes over = try_read_file(folder / "file", size - 1);
    EXPECT_EQ(over.bytes, "");
    EXPECT_THAT(over.problem, HasSubstr("larger than the " + std::to_string(size - 1) + " bytes"));
  }
}

TEST(ReadFile, NamesTheFileTheReasonAndWhatToDo) {
  const ScratchFolder folder;
  const auto complaint = [&](const std::filesystem::path& path) {
    return message_of<UserError>([&] { read_file(path, 10, "Is it there?"); });
  };
  EXPECT_EQ(complaint(folder / "none"),
            "cannot read " + (folder / "none").string() + ": No such file or directory. Is it there?");
  EXPECT_THAT(complaint(folder.path()), AllOf(HasSubstr(folder.path().string()), HasSubstr("Is a directory")));
}

TEST(ReadFile, ReadsAPipeToItsEnd) {
  const ScratchFolder folder;
  const std::filesystem::path pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { write_bytes(pipe, all_bytes(300000)); });
  EXPECT_EQ(read_file(pipe, 300000), all_bytes(300000));
  writer.join();
}

}  // namespace
}  // namespace trireme
