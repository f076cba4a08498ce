// The primitives against plain loops over all ranks' rows: by threads, with streams that run at once or lazily in a
// shuffled order, memory that nobody may follow, and every output, padding included, NaN before.
#include "parallel/tensor/tensor_group.h"

#include <limits>
#include <optional>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "cuda/core/shape_only.h"
#include "cuda/ops/shape_only.h"
#include "parallel/comm/recording.h"
#include "tests/cuda/oracle/result.h"
#include "tests/parallel/comm/tree_reference.h"
#include "tests/parallel/local_ranks.h"

namespace trireme {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kArenaFloats = 1 << 14;

std::size_t at(std::int64_t n) { return static_cast<std::size_t>(n); }

LocalRun any_run(bool lazy) {
  LocalRun run;
  run.options.streams = lazy ? StreamMode::kLazy : StreamMode::kImmediate;
  run.options.shuffle_seed = 5;
  run.options.guard_memory = true;
  return run;
}

// A rank of a group, with an arena that starts as NaN.
struct Member {
  explicit Member(LocalRank& rank)
      : self(rank),
        memory(rank.tensor<float>({kArenaFloats}, DType::kF32, std::vector<float>(at(kArenaFloats), kNaN))),
        arena(memory.data, at(kArenaFloats) * sizeof(float)),
        context{&rank.device(), &host_kernels(), &arena, rank.compute()},
        group(rank.comm()) {
    rank.device().synchronize(rank.communication());
  }
  ArenaTensor given(const Shape& shape, const std::vector<float>& values) {
    ArenaTensor tensor = context.arena->allocate(shape, DType::kF32, "test");
    self.device().upload(self.compute(), tensor, values.data());
    return tensor;
  }
  ArenaTensor in(DType dtype, const ArenaTensor& wide) {
    ArenaTensor tensor = context.arena->allocate(wide->shape, dtype, "test");
    context.ops->copy(self.compute(), tensor, wide);
    return tensor;
  }
  std::vector<float> read(const Tensor& from) {
    const ArenaTensor wide = context.arena->allocate(from.shape, DType::kF32, "test");
    context.ops->copy(self.compute(), wide, from);
    std::vector<float> values(at(from.elements()));
    self.device().download(self.compute(), values.data(), wide);
    self.device().synchronize(self.compute());
    return values;
  }

  LocalRank& self;
  Tensor memory;
  Arena arena;
  Context context;
  TensorGroup group;
};

struct Case {
  int size;
  std::int64_t rows, columns;
  DType dtype;
  bool lazy;
};
Case any_case() {
  return {*rc::gen::inRange(1, 6), *rc::gen::inRange<std::int64_t>(1, 20), *rc::gen::inRange<std::int64_t>(1, 7),
          *rc::gen::element(DType::kF32, DType::kBF16), *rc::gen::arbitrary<bool>()};
}

// Small integers: exact in bf16, and different wherever they stand.
float number_at(std::int64_t row, std::int64_t column) { return static_cast<float>((row * 7 + column * 3) % 251); }

TEST(TensorGroup, OneRankAloneCopiesNothingAndSaysNothing) {
  ShapeOnlyDevice device;
  Arena arena(ShapeOnlyDevice::base(), Arena::kUnlimited);
  Context context{.device = &device, .ops = &shape_only_kernels(), .arena = &arena, .compute = {}};
  RecordingCommunicator one(0, 1);
  const TensorGroup group(one);
  EXPECT_TRUE(group.alone());
  EXPECT_EQ(group.held(9), (RowRange{0, 9}));
  const ArenaTensor own = arena.allocate({9, 4}, DType::kBF16, "test");
  EXPECT_EQ(group.gather(context, own, 9, {1, "x"})->data, own->data);
  PartialRows partial = group.partial(context, 9, 4, DType::kBF16);
  EXPECT_EQ(partial->dtype, DType::kBF16);
  const std::byte* written = partial->data;
  EXPECT_EQ(group.sum(context, std::move(partial), DType::kBF16, {}, {}, {1, "y"})->data, written);
  EXPECT_TRUE(one.calls().empty());
}

RC_GTEST_PROP(TensorGroup, SharesCoverEachRowOnceInOrder, ()) {
  const int size = *rc::gen::inRange(1, 9);
  const auto rows = *rc::gen::inRange<std::int64_t>(0, 40);
  std::int64_t next = 0;
  for (int rank = 0; rank < size; ++rank) {
    RecordingCommunicator peers(rank, size);
    const TensorGroup group(peers);
    const RowRange held = group.held(rows);
    RC_ASSERT(held.begin == next);
    RC_ASSERT(held.size() >= 0 && held.size() <= group.share(rows));
    RC_ASSERT(held.size() == group.share(rows) || held.end == rows);
    next = held.end;
  }
  RC_ASSERT(next == rows);
}

RC_GTEST_PROP(TensorGroup, GathersTheRowsOfAllRanksAndLeavesPaddingBehind, ()) {
  const Case drawn = any_case();
  expect_ranks(drawn.size, any_run(drawn.lazy), [&](LocalRank& rank) {
    Member self(rank);
    const std::int64_t share = self.group.share(drawn.rows);
    const RowRange held = self.group.held(drawn.rows);
    std::vector<float> own(at(share * drawn.columns), kNaN);
    for (std::int64_t r = 0; r < held.size(); ++r)
      for (std::int64_t c = 0; c < drawn.columns; ++c) own[at(r * drawn.columns + c)] = number_at(held.begin + r, c);
    const ArenaTensor rows = self.in(drawn.dtype, self.given({share, drawn.columns}, own));
    const GatheredRows all = self.group.gather(self.context, rows, drawn.rows, {2, "x"});
    EXPECT_EQ(all->shape, (Shape{drawn.rows, drawn.columns}));
    EXPECT_EQ(all->dtype, drawn.dtype);
    std::vector<float> want;
    for (std::int64_t r = 0; r < drawn.rows; ++r)
      for (std::int64_t c = 0; c < drawn.columns; ++c) want.push_back(number_at(r, c));
    EXPECT_EQ(self.read(*all), want);
  });
}

// The sum's bits are those of the communicator's tree, rounded once; padding is what bias and residual leave of zeros.
RC_GTEST_PROP(TensorGroup, SumsPartsInTheTreeAndRoundsOnce, ()) {
  const Case drawn = any_case();
  const bool biased = *rc::gen::arbitrary<bool>(), joined = *rc::gen::arbitrary<bool>();
  const std::size_t count = at(drawn.rows * drawn.columns);
  const std::vector<float> sums = summed_values(count, 11, drawn.size);
  expect_ranks(drawn.size, any_run(drawn.lazy), [&](LocalRank& rank) {
    Member self(rank);
    if (self.group.alone()) return;
    const Shape shape{self.group.share(drawn.rows), drawn.columns};
    const RowRange held = self.group.held(drawn.rows);
    std::vector<float> bias_values(at(drawn.columns)), residual_values(at(shape.elements()));
    for (std::int64_t c = 0; c < drawn.columns; ++c) bias_values[at(c)] = number_at(31, c);
    for (std::size_t i = 0; i < residual_values.size(); ++i) residual_values[i] = number_at(static_cast<int>(i), 2);

    PartialRows partial = self.group.partial(self.context, drawn.rows, drawn.columns, drawn.dtype);
    EXPECT_EQ(partial->dtype, DType::kF32);
    const std::vector<float> part = uneven_values(count, 11 + static_cast<std::uint64_t>(rank.rank()));
    rank.device().upload(rank.compute(), *partial, part.data());
    const ArenaTensor bias = self.in(drawn.dtype, self.given({drawn.columns}, bias_values));
    const ArenaTensor residual = self.in(drawn.dtype, self.given(shape, residual_values));
    const ArenaTensor y = self.group.sum(self.context, std::move(partial), drawn.dtype, biased ? *bias : Tensor{},
                                         joined ? *residual : Tensor{}, {2, "y"});
    EXPECT_EQ(y->shape, shape);
    EXPECT_EQ(y->dtype, drawn.dtype);
    const std::vector<float> got = self.read(y);
    const oracle::Format& format = drawn.dtype == DType::kF32 ? oracle::kF32 : oracle::kBF16;
    for (std::int64_t r = 0; r < shape[0]; ++r)
      for (std::int64_t c = 0; c < drawn.columns; ++c) {
        const std::size_t i = at(r * drawn.columns + c);
        float want = r < held.size() ? sums[at((held.begin + r) * drawn.columns + c)] : 0;
        if (biased) want += bias_values[at(c)];
        if (joined) want += residual_values[i];
        EXPECT_EQ(got[i], static_cast<float>(oracle::round_to(format, static_cast<double>(want)))) << r << ", " << c;
      }
  });
}

TEST(TensorGroup, EveryCallSaysItsStepAndTensor) {
  RecordingCommunicator peers(1, 3);
  ShapeOnlyDevice device;
  Arena arena(ShapeOnlyDevice::base(), Arena::kUnlimited);
  Context context{.device = &device, .ops = &shape_only_kernels(), .arena = &arena, .compute = {}};
  const TensorGroup group(peers);
  const ArenaTensor own = arena.allocate({3, 4}, DType::kBF16, "test");
  group.gather(context, own, 7, {5, "layers.0.mlp input"});
  group.sum(context, group.partial(context, 7, 4, DType::kBF16), DType::kBF16, {}, {}, {5, "layers.0.mlp output"});
  group.gather_parts(context, own, {6, "statistics"});
  const std::vector<RecordedCall> want = {{"world", "all_gather", 5, "layers.0.mlp input", 24, DType::kBF16},
                                          {"world", "reduce_scatter", 5, "layers.0.mlp output", 9 * 4 * 4},
                                          {"world", "all_gather", 6, "statistics", 24, DType::kBF16}};
  EXPECT_EQ(peers.calls(), want);
}

TEST(TensorGroup, RowsThatAreNotAShareAreABug) {
  RecordingCommunicator peers(1, 2);
  ShapeOnlyDevice device;
  Arena arena(ShapeOnlyDevice::base(), Arena::kUnlimited);
  Context context{.device = &device, .ops = &shape_only_kernels(), .arena = &arena, .compute = {}};
  const ArenaTensor own = arena.allocate({3, 4}, DType::kF32, "test");
  EXPECT_DEATH(TensorGroup(peers).gather(context, own, 7, {1, "x"}), "rank 1 of 2 holds 3 of 7 rows, not 4");
}

}  // namespace
}  // namespace trireme
