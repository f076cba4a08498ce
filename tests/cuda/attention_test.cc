#include "tests/cuda/oracle/attention.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cuda/host/attention_islands.h"
#include "cuda/host/host_device.h"
#include "tests/cuda/parity/walk.h"

namespace trireme {
namespace {

using oracle::Values;
using parity::Operand;
using parity::Trial;

struct Outputs {
  Values o, lse, dq, dkv;
  bool operator==(const Outputs&) const = default;
};

struct Problem {
  std::int64_t rows, heads, kv_heads, head_size;
  Values q, kv, d_o, ranges, sample, offset;
};

Outputs run(int threads, DType dtype, const Problem& problem, Dropout dropout) {
  const auto device = make_host_device({.threads = threads});
  Trial trial(*device, host_kernels(), "attention");
  const Shape q_shape{problem.rows, problem.heads, problem.head_size};
  const Shape kv_shape{problem.rows, 2, problem.kv_heads, problem.head_size};
  const Operand q = trial.given(q_shape, dtype, problem.q);
  const Operand kv = trial.given(kv_shape, dtype, problem.kv);
  const Operand d_o = trial.given(q_shape, dtype, problem.d_o);
  const Operand keys = trial.given({problem.rows, 2}, DType::kI32, problem.ranges);
  const RowIds ids{trial.given({problem.rows}, DType::kI64, problem.sample),
                   trial.given({problem.rows}, DType::kI32, problem.offset)};
  const Operand o = trial.poisoned(q_shape, dtype);
  const Operand lse = trial.poisoned({problem.rows, problem.heads}, DType::kF32);
  const Operand dq = trial.poisoned(q_shape, dtype);
  const Operand dkv = trial.poisoned(kv_shape, dtype);
  trial.ops.attention_forward(trial.stream, o, lse, q, kv, keys, 0.2f, dropout, ids);
  trial.ops.attention_backward(trial.stream, dq, dkv, d_o, o, lse, q, kv, keys, 0.2f, dropout, ids);
  return {trial.read(o), trial.read(lse), trial.read(dq), trial.read(dkv)};
}

Values draw(std::mt19937_64& random, std::int64_t count) {
  std::normal_distribution<double> normal;
  Values values(static_cast<std::size_t>(count));
  for (double& value : values) value = normal(random);
  return values;
}

// Causal samples one after another.
Problem causal(const std::vector<std::int64_t>& samples, std::uint64_t seed) {
  Problem problem{0, 4, 2, 40, {}, {}, {}, {}, {}, {}};
  std::mt19937_64 random(seed);
  for (std::size_t which = 0; which < samples.size(); ++which)
    for (std::int64_t i = 0; i < samples[which]; ++i) {
      problem.ranges.push_back(static_cast<double>(problem.rows));
      problem.ranges.push_back(static_cast<double>(problem.rows + i + 1));
      problem.sample.push_back(static_cast<double>(which + 100));
      problem.offset.push_back(static_cast<double>(i));
      if (i + 1 == samples[which]) problem.rows += samples[which];
    }
  problem.q = draw(random, problem.rows * 4 * 40);
  problem.d_o = draw(random, problem.rows * 4 * 40);
  problem.kv = draw(random, problem.rows * 2 * 2 * 40);
  return problem;
}

TEST(HostAttention, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Problem problem = causal({70, 150, 3}, 1);
  for (DType dtype : {DType::kF32, DType::kBF16})
    for (float probability : {0.0f, 0.3f}) {
      const Outputs one = run(1, dtype, problem, {probability, 5});
      for (int threads : {2, 3}) EXPECT_TRUE(run(threads, dtype, problem, {probability, 5}) == one);
    }
}

TEST(HostAttention, ASampleDoesNotDependOnWhatIsBatchedBeforeIt) {
  const Problem both = causal({37, 150}, 2);
  Problem second = both;
  second.rows = 150;
  const auto tail = [](Values& values, std::int64_t row) { values.erase(values.begin(), values.begin() + 37 * row); };
  for (Values* values : {&second.q, &second.d_o, &second.kv}) tail(*values, 160);
  for (Values* values : {&second.sample, &second.offset}) tail(*values, 1);
  tail(second.ranges, 2);
  for (double& end : second.ranges) end -= 37;
  for (float probability : {0.0f, 0.3f}) {
    Outputs together = run(2, DType::kF32, both, {probability, 5});
    for (Values* values : {&together.o, &together.dq, &together.dkv}) tail(*values, 160);
    tail(together.lse, 4);
    EXPECT_TRUE(run(2, DType::kF32, second, {probability, 5}) == together);
  }
}

// Ranges whose ends never fall, with windows, empty ones and gaps.
rc::Gen<std::vector<std::int32_t>> gen_ranges(std::int64_t rows) {
  return rc::gen::map(
      rc::gen::container<std::vector<std::pair<int, int>>>(
          static_cast<std::size_t>(rows),
          rc::gen::pair(rc::gen::weightedOneOf<int>({{6, rc::gen::just(0)}, {1, rc::gen::inRange(0, 30)}}),
                        rc::gen::weightedOneOf<int>({{3, rc::gen::just(1)}, {1, rc::gen::inRange(0, 9)}}))),
      [](const std::vector<std::pair<int, int>>& moves) {
        std::vector<std::int32_t> ranges;
        std::int32_t begin = 0;
        std::int32_t end = 0;
        for (const auto& [from, to] : moves) {
          begin += from;
          end = std::max(begin, end + to);
          ranges.insert(ranges.end(), {begin, end});
        }
        return ranges;
      });
}

RC_GTEST_PROP(HostAttention, AgreesWithTheOracleOnAnyRanges, (std::uint16_t seed)) {
  const std::int64_t rows = *rc::gen::inRange(1, 150);
  const std::vector<std::int32_t> ranges = *gen_ranges(rows);
  const std::int64_t keys = ranges.back() + 3;
  const auto device = make_host_device({.threads = 2});
  Trial trial(*device, host_kernels(), "attention");
  const oracle::AttentionShape shape{static_cast<std::size_t>(rows), static_cast<std::size_t>(keys), 2, 1, 8};
  std::mt19937_64 random(seed);
  const Operand q = trial.given({rows, 2, 8}, DType::kF32, draw(random, rows * 16));
  const Operand kv = trial.given({keys, 2, 1, 8}, DType::kF32, draw(random, keys * 16));
  const Operand d_o = trial.given({rows, 2, 8}, DType::kF32, draw(random, rows * 16));
  const Operand given = trial.given({rows, 2}, DType::kI32, Values(ranges.begin(), ranges.end()));
  const Operand o = trial.poisoned({rows, 2, 8}, DType::kF32);
  const Operand lse = trial.poisoned({rows, 2}, DType::kF32);
  const Operand dq = trial.poisoned({rows, 2, 8}, DType::kF32);
  const Operand dkv = trial.poisoned({keys, 2, 1, 8}, DType::kF32);
  trial.ops.attention_forward(trial.stream, o, lse, q, kv, given, 0.5f, {}, {});
  const auto want = oracle::attention_forward(shape, q.values, kv.values, given.values, 0.5, {}, {});
  const double c = static_cast<double>(2 * keys + 64);  // as in parity/attention_cases.cc
  trial.expect("o", o, want.o, c);
  trial.expect("lse", lse, want.lse, c);
  trial.ops.attention_backward(trial.stream, dq, dkv, d_o, o, lse, q, kv, given, 0.5f, {}, {});
  const auto slopes = oracle::attention_backward(shape, d_o.values, trial.read(o), trial.read(lse), q.values, kv.values,
                                                 given.values, 0.5, {}, {});
  trial.expect("dq", dq, slopes.dq, c);
  trial.expect("dkv", dkv, slopes.dkv, c);
  if (!parity::all_agree(trial.report)) RC_FAIL(parity::to_string(trial.report));
}

RC_GTEST_PROP(AttentionIslands, CoverTheRowsAndShareNoKeys, ()) {
  const std::int64_t rows = *rc::gen::inRange(1, 60);
  const std::vector<std::int32_t> ranges = *gen_ranges(rows);
  const auto islands = host::find_islands(ranges.data(), rows, ranges.back());
  std::int64_t row = 0;
  std::int64_t key = 0;
  for (const host::Island& island : islands) {
    RC_ASSERT(island.row == row && island.row < island.row_end);
    RC_ASSERT(island.key >= key);
    for (; row < island.row_end; ++row) {
      const std::int32_t* range = ranges.data() + 2 * row;
      RC_ASSERT(range[0] == range[1] || (island.key <= range[0] && range[1] <= island.key_end));
    }
    key = island.key_end;
  }
  RC_ASSERT(row == rows);
}

TEST(AttentionIslandsDeathTest, RefuseRangesThatFall) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::int32_t falls[] = {0, 3, 0, 2};
  EXPECT_DEATH(host::find_islands(falls, 2, 5), "row 1 attends to keys \\[0, 2\\)");
}

}  // namespace
}  // namespace trireme
