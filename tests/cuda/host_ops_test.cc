// What the host promises beyond the oracle: the same bits for any number of threads, and for rows however they are
// split.
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/host/host_device.h"
#include "tests/cuda/parity/trial.h"

namespace trireme {
namespace {

using parity::Operand;
using parity::Trial;
constexpr std::int64_t kRows = 131, kColumns = 517;  // enough elements for seven threads

struct Computation {
  const char* name;
  std::function<std::vector<Tensor>(Trial&)> run;
};

Operand activations(Trial& trial) { return trial.normal({kRows, kColumns}, DType::kBF16); }

const Computation kComputations[] = {
    {"embedding",
     [](Trial& t) {
       const Operand ids = t.integers({kRows}, DType::kI32, 0, 6), table = t.normal({7, kColumns}, DType::kBF16);
       const Operand y = activations(t), dtable = t.normal({7, kColumns}, DType::kF32);
       t.ops.embedding_forward(t.stream, y, ids, table, 0, Write::kAdd);
       t.ops.embedding_backward(t.stream, dtable, ids, y, 0);
       return std::vector<Tensor>{y, dtable};
     }},
    {"norms",
     [](Trial& t) {
       const Operand x = activations(t), y = activations(t), dx = activations(t), z = activations(t);
       const Operand w = t.normal({kColumns}, DType::kBF16), b = t.normal({kColumns}, DType::kBF16);
       const Operand mean = t.poisoned({kRows}, DType::kF32), rstd = t.poisoned({kRows}, DType::kF32);
       const Operand dw = t.normal({kColumns}, DType::kF32), db = t.normal({kColumns}, DType::kF32);
       t.ops.layernorm_forward(t.stream, y, mean, rstd, x, w, b, 1e-5f);
       t.ops.layernorm_backward_input(t.stream, dx, y, {}, x, mean, rstd, w);
       t.ops.layernorm_backward_weight(t.stream, dw, db, dx, x, mean, rstd);
       t.ops.rmsnorm_forward(t.stream, z, rstd, x, w, 1e-5f);
       t.ops.rmsnorm_backward_input(t.stream, z, z, y, x, rstd, w);
       t.ops.rmsnorm_backward_weight(t.stream, dw, z, x, rstd);
       return std::vector<Tensor>{y, mean, rstd, dx, z, dw, db};
     }},
    {"pointwise",
     [](Trial& t) {
       const Operand x = activations(t), y = activations(t), gated = t.normal({kRows, 2, kColumns}, DType::kBF16);
       const Operand turned = t.normal({kRows, 2, 5, 64}, DType::kF32);
       const Operand positions = t.integers({kRows}, DType::kI32, 0, 9999);
       oracle::Values sample, offset;
       const RowIds ids = t.row_ids(kRows, sample, offset);
       t.ops.gelu_forward(t.stream, y, x);
       t.ops.gelu_backward(t.stream, y, y, x);
       t.ops.swiglu_backward(t.stream, gated, y, t.same_as(gated));
       t.ops.swiglu_forward(t.stream, x, gated);
       t.ops.dropout(t.stream, y, x, y, {0.2f, 5}, ids);
       t.ops.rope(t.stream, turned, positions, 10000, 1);
       return std::vector<Tensor>{x, y, gated, turned};
     }},
    {"sums",
     [](Trial& t) {
       constexpr std::int64_t kCount = 100003;
       const Operand x = t.normal({kCount}, DType::kF32), total = t.normal({1}, DType::kF32);
       const Operand drawn = t.poisoned({777, 131}, DType::kBF16), sum = t.poisoned({kCount}, DType::kF32);
       const Operand squares = t.poisoned({98 + 1}, DType::kF32), few = t.normal({3}, DType::kF32);
       const std::vector<Tensor> parts = {x, t.normal({kCount}, DType::kF32), t.normal({kCount}, DType::kF32)};
       t.ops.add_sum(t.stream, total, x);
       t.ops.sum_tree(t.stream, sum, parts);
       t.ops.square_sums(t.stream, squares, std::vector<Tensor>{x, few});
       t.ops.init_normal(t.stream, drawn, {1000, 140}, {100, 3}, 11, 1);
       return std::vector<Tensor>{total, sum, squares, drawn};
     }},
};

class AnyThreads : public testing::TestWithParam<Computation> {};

TEST_P(AnyThreads, GiveTheSameBits) {
  std::vector<oracle::Values> expected;
  for (int threads : {1, 2, 3, 7}) {
    const auto device = make_host_device({.threads = threads});
    Trial trial(*device, host_kernels(), GetParam().name);
    std::vector<oracle::Values> values;
    for (const Tensor& output : GetParam().run(trial)) values.push_back(trial.read(output));
    if (threads == 1) expected = values;
    EXPECT_EQ(values, expected) << threads << " threads";
  }
}
INSTANTIATE_TEST_SUITE_P(Ops, AnyThreads, testing::ValuesIn(kComputations),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(HostOps, WeightGradientsOfTwoHalvesAreThatOfTheWhole) {
  const auto device = make_host_device({.threads = 2});
  Trial t(*device, host_kernels(), "halves");
  const Operand x = activations(t), dy = activations(t);
  const Operand mean = t.normal({kRows}, DType::kF32), rstd = t.normal({kRows}, DType::kF32);
  const Operand ids = t.integers({kRows}, DType::kI32, 0, 6);
  std::vector<Operand> whole, halves;
  for (std::vector<Operand>* results : {&whole, &halves})
    *results = {t.given({kColumns}, DType::kF32, oracle::Values(kColumns, 0.1)),
                t.given({kColumns}, DType::kF32, oracle::Values(kColumns, 0.2)),
                t.given({7, kColumns}, DType::kF32, oracle::Values(7 * kColumns, 0.3))};
  const auto run = [&](const std::vector<Operand>& out, std::int64_t begin, std::int64_t end) {
    const auto rows = [&](const Operand& one) { return one.tensor.rows(begin, end); };
    t.ops.layernorm_backward_weight(t.stream, out[0], out[1], rows(dy), rows(x), rows(mean), rows(rstd));
    t.ops.rmsnorm_backward_weight(t.stream, out[0], rows(dy), rows(x), rows(rstd));
    t.ops.embedding_backward(t.stream, out[2], rows(ids), rows(dy), 0);
  };
  const std::int64_t middle = 50;
  run(whole, 0, kRows);
  // The two norms share dw, so that the halves are put on in the order of the whole.
  t.ops.layernorm_backward_weight(t.stream, halves[0], halves[1], dy.tensor.rows(0, middle), x.tensor.rows(0, middle),
                                  mean.tensor.rows(0, middle), rstd.tensor.rows(0, middle));
  t.ops.layernorm_backward_weight(t.stream, halves[0], halves[1], dy.tensor.rows(middle, kRows),
                                  x.tensor.rows(middle, kRows), mean.tensor.rows(middle, kRows),
                                  rstd.tensor.rows(middle, kRows));
  for (auto [begin, end] : {std::pair{std::int64_t{0}, middle}, std::pair{middle, kRows}}) {
    t.ops.rmsnorm_backward_weight(t.stream, halves[0], dy.tensor.rows(begin, end), x.tensor.rows(begin, end),
                                  rstd.tensor.rows(begin, end));
    t.ops.embedding_backward(t.stream, halves[2], ids.tensor.rows(begin, end), dy.tensor.rows(begin, end), 0);
  }
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(t.read(whole[i]), t.read(halves[i])) << i;
}

// Every 16-bit pattern to fp32 and back; then fp32 patterns all over, against rounding by arithmetic.
TEST(HostOps, CopyRoundsToNearestEven) {
  const auto device = make_host_device({});
  Trial t(*device, host_kernels(), "copy");
  std::vector<float> wide(65536);
  std::vector<std::uint16_t> bits(65536), back(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  for (DType dtype : {DType::kBF16, DType::kF16}) {
    const Operand narrow = t.poisoned({65536}, dtype), full = t.poisoned({65536}, DType::kF32);
    const Operand again = t.poisoned({65536}, dtype);
    device->upload(t.stream, narrow, bits.data());
    t.ops.copy(t.stream, full, narrow);
    t.ops.copy(t.stream, again, full);
    device->download(t.stream, wide.data(), full);
    device->download(t.stream, back.data(), again);
    device->synchronize(t.stream);
    const oracle::Values exact = t.read(narrow);
    for (std::size_t i = 0; i < bits.size(); ++i) {
      if (std::isnan(exact[i])) {
        EXPECT_TRUE(std::isnan(wide[i])) << i;
        continue;
      }
      EXPECT_EQ(static_cast<double>(wide[i]), exact[i]) << i;
      EXPECT_EQ(back[i], bits[i]) << name_of(dtype);
    }

    std::vector<std::uint32_t> patterns(200000);
    for (std::size_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<std::uint32_t>(i * 2654435761u);
    const Operand from = t.poisoned({200000}, DType::kF32), to = t.poisoned({200000}, dtype);
    device->upload(t.stream, from, patterns.data());
    t.ops.copy(t.stream, to, from);
    oracle::Values want = t.read(from);
    for (double& value : want) value = oracle::round_to(parity::format_of(dtype), value);
    t.expect_exactly("to", to, want);
    t.forget();
  }
  EXPECT_TRUE(all_agree(t.report)) << to_string(t.report);
}

}  // namespace
}  // namespace trireme
