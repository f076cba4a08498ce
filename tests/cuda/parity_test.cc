#include <algorithm>

#include <gtest/gtest.h>

#include "cuda/host/host_device.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {

void PrintTo(const Case& one, std::ostream* out) { *out << one.op; }

namespace {

struct Setting {
  const char* name;
  HostOptions options;
};
const Setting kSettings[] = {
    {"one_thread", {.threads = 1}},
    {"lazy_streams_guarded_memory",
     {.threads = 3, .streams = StreamMode::kLazy, .shuffle_seed = 1, .guard_memory = true}},
};

class Parity : public testing::TestWithParam<Case> {};

TEST_P(Parity, HostComputesWhatTheOracleDoes) {
  for (const Setting& setting : kSettings) {
    const auto device = make_host_device(setting.options);
    const Report report = run_case(GetParam(), *device, host_kernels());
    EXPECT_FALSE(report.empty());
    EXPECT_TRUE(all_agree(report)) << setting.name << ", " << host_description() << "\n" << to_string(report);
  }
}
INSTANTIATE_TEST_SUITE_P(OfEveryOp, Parity, testing::ValuesIn(all_cases()),
                         [](const auto& one) { return one.param.op; });

TEST(ParityWalk, HasACaseForEveryOpOfTheTable) { EXPECT_EQ(ops_without_a_case(), std::vector<std::size_t>()); }

void wrong_gelu(Stream stream, Tensor y, Tensor x) {
  host_kernels().gelu_forward(stream, y, x);
  if (y.elements() > 100) host_kernels().fill(stream, y.flat(100, 101), 0.5f);
}
void gelu_that_leaves_the_last(Stream stream, Tensor y, Tensor x) {
  const std::int64_t n = x.elements();
  if (n > 1) host_kernels().gelu_forward(stream, y.flat(0, n - 1), x.flat(0, n - 1));
}

TEST(ParityWalk, FindsAnOpThatIsWrongInOneElement) {
  const auto device = make_host_device({});
  for (auto* wrong : {wrong_gelu, gelu_that_leaves_the_last}) {
    Kernels table = host_kernels();
    table.gelu_forward = wrong;
    const Cases cases = pointwise_cases();
    const auto gelu =
        std::find_if(cases.begin(), cases.end(), [](const Case& one) { return one.op == "gelu_forward"; });
    ASSERT_NE(gelu, cases.end());
    EXPECT_FALSE(all_agree(run_case(*gelu, *device, table)));
  }
}

}  // namespace
}  // namespace trireme::parity
