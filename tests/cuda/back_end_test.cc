// Which back end is opened where there is no GPU, and what is said about it.
#include "cuda/back_end.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "monitoring/error.h"

namespace trireme {
namespace {

TEST(BackEnd, TheHostIsTakenWhereItIsAskedFor) {
  const BackEnd back_end = open_back_end(BackEndChoice::kHost, {.threads = 1}, 0, 1);
  EXPECT_FALSE(back_end.is_cuda);
  EXPECT_STREQ(back_end.device->name(), "host");
  EXPECT_EQ(back_end.kernels, &host_kernels());
  EXPECT_THAT(back_end.description, testing::Not(testing::HasSubstr("no GPU")));
}

TEST(BackEnd, WithoutAGpuAutoTakesTheHostAndSaysWhyInOneLine) {
  const BackEnd back_end = open_back_end(BackEndChoice::kAuto, {.threads = 1}, 0, 1);
  if (back_end.is_cuda) GTEST_SKIP() << "this machine has a GPU: " << back_end.description;
  EXPECT_STREQ(back_end.device->name(), "host");
  EXPECT_THAT(back_end.description, testing::HasSubstr("(no GPU: "));
  EXPECT_THAT(back_end.description, testing::Not(testing::HasSubstr("\n")));
}

TEST(BackEnd, WithoutAGpuCudaIsTheUsersMistakeAndSaysWhatToDo) {
  if (open_back_end(BackEndChoice::kAuto, {.threads = 1}, 0, 1).is_cuda) GTEST_SKIP() << "this machine has a GPU";
  try {
    open_back_end(BackEndChoice::kCuda, {.threads = 1}, 0, 1);
    FAIL() << "opened a GPU that is not there";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("set device: host"));
  }
}

}  // namespace
}  // namespace trireme
