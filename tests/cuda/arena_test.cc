#include "cuda/core/arena.h"

#include <deque>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "cuda/core/shape_only.h"

namespace trireme {
namespace {

std::byte* nowhere() { return ShapeOnlyDevice::base(); }

// Allocates or frees what the numbers say; calls `look` after each step with what lives.
struct Step {
  int elements;  // allocate so many; negative: free the (-elements)-th living block, modulo how many there are
};
template <class Look>
void play(Arena& arena, const std::vector<Step>& steps, const Look& look) {
  const char* categories[] = {"activations", "gradients", "workspace"};
  std::vector<ArenaTensor> living;
  for (const Step& step : steps) {
    if (step.elements >= 0)
      living.push_back(arena.allocate({step.elements}, DType::kF32, categories[step.elements % 3]));
    else if (!living.empty())
      living.erase(living.begin() + (-step.elements) % static_cast<int>(living.size()));
    look(living);
  }
}

rc::Gen<std::vector<Step>> steps() {
  return rc::gen::container<std::vector<Step>>(
      rc::gen::map(rc::gen::inRange(-3000, 5000), [](int elements) { return Step{elements}; }));
}

std::size_t rounded(const ArenaTensor& tensor) {
  return std::max<std::size_t>(Arena::kAlignment,
                               (tensor->bytes() + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment);
}

RC_GTEST_PROP(Arena, BlocksNeverOverlapAndAreAligned, ()) {
  Arena arena(nowhere(), Arena::kUnlimited);
  play(arena, *steps(), [&](const std::vector<ArenaTensor>& living) {
    std::map<const std::byte*, std::size_t> sorted;
    std::size_t in_use = 0;
    for (const ArenaTensor& one : living) {
      RC_ASSERT(static_cast<std::size_t>(one->data - nowhere()) % Arena::kAlignment == 0u);
      RC_ASSERT(sorted.emplace(one->data, rounded(one)).second);
      in_use += rounded(one);
    }
    const std::byte* end = nowhere();
    for (const auto& [data, bytes] : sorted) {
      RC_ASSERT(data >= end);
      end = data + bytes;
    }
    RC_ASSERT(static_cast<std::size_t>(end - nowhere()) <= arena.peak_bytes());
    RC_ASSERT(arena.bytes_in_use() == in_use);
  });
}

RC_GTEST_PROP(Arena, ThePeakOfAShapeOnlyPassSufficesAndOffsetsAreTheSame, ()) {
  const std::vector<Step> sequence = *steps();
  std::vector<std::size_t> planned, real;
  Arena plan(nowhere(), Arena::kUnlimited);
  play(plan, sequence, [&](const auto& living) {
    if (!living.empty()) planned.push_back(static_cast<std::size_t>(living.back()->data - nowhere()));
  });
  std::vector<std::byte> memory(plan.peak_bytes() + 1);
  Arena arena(memory.data(), plan.peak_bytes());
  play(arena, sequence, [&](const auto& living) {
    if (!living.empty()) real.push_back(static_cast<std::size_t>(living.back()->data - memory.data()));
  });
  RC_ASSERT(planned == real);
  RC_ASSERT(plan.peak_bytes() == arena.peak_bytes());
}

RC_GTEST_PROP(Arena, FreeingEverythingLeavesOneRange, ()) {
  std::vector<Step> sequence = *steps();
  Arena plan(nowhere(), Arena::kUnlimited);
  play(plan, sequence, [](const auto&) {});
  Arena arena(nowhere(), plan.peak_bytes());
  play(arena, sequence, [](const auto&) {});
  RC_ASSERT(arena.bytes_in_use() == 0u);
  if (plan.peak_bytes() == 0) return;
  // If neighbours were not merged, no range would be as large as all.
  const ArenaTensor all = arena.allocate({static_cast<std::int64_t>(plan.peak_bytes() / 4)}, DType::kF32, "all");
  RC_ASSERT(all->data == nowhere());
}

RC_GTEST_PROP(Arena, TheLedgerAddsUpToTheMostThatWasInUse, ()) {
  Arena arena(nowhere(), Arena::kUnlimited);
  std::size_t most = 0;
  play(arena, *steps(), [&](const auto&) { most = std::max(most, arena.bytes_in_use()); });
  std::size_t sum = 0;
  for (const auto& [category, bytes] : arena.bytes_at_peak()) sum += bytes;
  RC_ASSERT(sum == most);
}

TEST(Arena, SumsByCategoryWhenMostIsInUse) {
  Arena arena(nowhere(), Arena::kUnlimited);
  ArenaTensor kept = arena.allocate({256}, DType::kF32, "activations");
  {
    const ArenaTensor first = arena.allocate({256}, DType::kBF16, "workspace");
    const ArenaTensor second = arena.allocate({512}, DType::kF32, "activations");
  }
  const ArenaTensor later = arena.allocate({1}, DType::kF32, "gradients");
  EXPECT_EQ(arena.bytes_at_peak().at("activations"), 1024u + 2048u);
  EXPECT_EQ(arena.bytes_at_peak().at("workspace"), 512u);
  EXPECT_EQ(arena.bytes_at_peak().count("gradients"), 0u);
}

TEST(Arena, TakesTheSmallestHoleThatFits) {
  Arena arena(nowhere(), Arena::kUnlimited);
  auto wide = arena.allocate({256}, DType::kF32, "a");
  auto wall = arena.allocate({64}, DType::kF32, "a");
  auto narrow = arena.allocate({128}, DType::kF32, "a");
  auto end = arena.allocate({64}, DType::kF32, "a");
  const std::byte* hole = narrow->data;
  wide = {};
  narrow = {};
  EXPECT_EQ(arena.allocate({100}, DType::kF32, "a")->data, hole);
}

TEST(Arena, AMovedTensorIsFreedOnce) {
  Arena arena(nowhere(), Arena::kUnlimited);
  ArenaTensor a = arena.allocate({64}, DType::kF32, "a");
  ArenaTensor b = std::move(a);
  EXPECT_FALSE(a.given());
  EXPECT_TRUE(b.given());
  b = arena.allocate({64}, DType::kF32, "a");
  EXPECT_EQ(arena.bytes_in_use(), 256u);
}

TEST(ArenaDeathTest, SaysWhatHadNoRoom) {
  Arena arena(nowhere(), 1024);
  const ArenaTensor some = arena.allocate({128}, DType::kF32, "parameters");
  EXPECT_DEATH(arena.allocate({192}, DType::kF32, "activations"),
               "1024 bytes, 512 of them in use.*768 bytes of activations");
  EXPECT_DEATH(
      {
        auto* short_lived = new Arena(nowhere(), 1024);
        auto* tensor = new ArenaTensor(short_lived->allocate({1}, DType::kF32, "a"));
        delete short_lived;
        delete tensor;
      },
      "1 tensors outlive their arena");
}

}  // namespace
}  // namespace trireme
