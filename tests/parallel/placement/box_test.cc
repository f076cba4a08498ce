#include "parallel/placement/box.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "parallel/placement/param_spec.h"

namespace trireme {
namespace {

Shape any_shape(int dims, std::int64_t most) {
  Shape shape;
  for (int dim = 0; dim < dims; ++dim) shape.append(*rc::gen::inRange<std::int64_t>(0, most + 1));
  return shape;
}

Box any_box(const Shape& shape) {
  Box box;
  for (int dim = 0; dim < shape.dims(); ++dim) {
    const auto begin = *rc::gen::inRange<std::int64_t>(0, shape[dim] + 1);
    box.begin.append(begin);
    box.size.append(*rc::gen::inRange<std::int64_t>(0, shape[dim] - begin + 1));
  }
  return box;
}

// Written apart from the code under test: element by element.
bool holds(const Shape& shape, const Box& box, std::int64_t element) {
  for (int dim = shape.dims() - 1; dim >= 0; --dim) {
    const std::int64_t index = element % shape[dim];
    element /= shape[dim];
    if (index < box.begin[dim] || index >= box.begin[dim] + box.size[dim]) return false;
  }
  return true;
}

RC_GTEST_PROP(Box, PartsCoverEachElementOnceAndDifferByAtMostOneRow, ()) {
  const Shape shape = any_shape(3, 7);
  const int dim = *rc::gen::inRange(0, 3);
  const auto parts = *rc::gen::inRange<std::int64_t>(1, 10);
  std::vector<int> covered(static_cast<std::size_t>(shape.elements()));
  std::int64_t previous = shape[dim] + 1;
  for (std::int64_t index = 0; index < parts; ++index) {
    const Box part = part_of(shape, dim, parts, index);
    RC_ASSERT(part.size[dim] <= previous);
    RC_ASSERT(part.size[dim] - shape[dim] / parts <= 1);
    previous = part.size[dim];
    for (std::int64_t e = 0; e < shape.elements(); ++e) covered[static_cast<std::size_t>(e)] += holds(shape, part, e);
  }
  for (int times : covered) RC_ASSERT(times == 1);
}

RC_GTEST_PROP(Box, AnIntersectionHoldsWhatBothHold, ()) {
  const Shape shape = any_shape(3, 5);
  const Box a = any_box(shape);
  const Box b = any_box(shape);
  const Box both = intersect(a, b);
  RC_ASSERT(both.size == intersect(b, a).size);
  for (std::int64_t e = 0; e < shape.elements(); ++e)
    RC_ASSERT(holds(shape, both, e) == (holds(shape, a, e) && holds(shape, b, e)));
}

RC_GTEST_PROP(Box, RunsAreTheBoxInGlobalOrderAndAsLongAsTheyCanBe, ()) {
  const Shape shape = any_shape(*rc::gen::inRange(0, 5), 4);
  const Box box = any_box(shape);
  std::int64_t local = 0;
  std::int64_t end = -1;
  std::vector<std::int64_t> visited;
  for_each_run(shape, box, [&](BoxRun run) {
    RC_ASSERT(run.local == local);
    RC_ASSERT(run.count > 0);
    RC_ASSERT(run.global > end);  // neither overlapping nor touching the one before
    local += run.count;
    end = run.global + run.count;
    for (std::int64_t i = 0; i < run.count; ++i) visited.push_back(run.global + i);
  });
  std::vector<std::int64_t> expected;
  for (std::int64_t e = 0; e < shape.elements(); ++e)
    if (holds(shape, box, e)) expected.push_back(e);
  RC_ASSERT(visited == expected);
}

RC_GTEST_PROP(Box, TwoCutsOfOneDimCoverEachElementOnce, ()) {
  ParamSpec spec;
  spec.name = "cut twice";
  spec.shape = any_shape(3, 9);
  spec.cuts = {{1, Axis::kTp}, {1, Axis::kDp}, {0, Axis::kEp}};
  AxisPlaces places;
  for (Axis axis : {Axis::kTp, Axis::kDp, Axis::kEp}) places[axis].parts = *rc::gen::inRange<std::int64_t>(1, 5);
  std::vector<int> covered(static_cast<std::size_t>(spec.shape.elements()));
  for (auto& tp = places[Axis::kTp].index; tp < places[Axis::kTp].parts; ++tp)
    for (auto& dp = places[Axis::kDp].index = 0; dp < places[Axis::kDp].parts; ++dp)
      for (auto& ep = places[Axis::kEp].index = 0; ep < places[Axis::kEp].parts; ++ep)
        for_each_run(spec.shape, local_box(spec, places), [&](BoxRun run) {
          for (std::int64_t i = 0; i < run.count; ++i) ++covered[static_cast<std::size_t>(run.global + i)];
        });
  for (int times : covered) RC_ASSERT(times == 1);
}

// Element by element: who holds it, and who of them speaks for it.
RC_GTEST_PROP(ParamSpec, OneOfTheRanksThatHoldAnElementOwnsItAndReplicasAreNeighbours, ()) {
  const auto parts = *rc::gen::inRange<std::int64_t>(1, 5);
  const auto sharing = *rc::gen::inRange<std::int64_t>(1, 4);
  ParamSpec spec;
  spec.name = "kv";
  spec.shape = {2, *rc::gen::inRange<std::int64_t>(parts, 9), 3};
  if (*rc::gen::inRange(0, 4) > 0) spec.cuts = {{1, Axis::kTp, parts}};
  AxisPlaces places;
  places[Axis::kTp].parts = *rc::gen::inRange(0, 2) ? parts * sharing : *rc::gen::inRange<std::int64_t>(1, parts + 1);
  std::vector<int> owners(static_cast<std::size_t>(spec.shape.elements()));
  Box before;
  for (auto& tp = places[Axis::kTp].index; tp < places[Axis::kTp].parts; ++tp) {
    const Box box = local_box(spec, places);
    const AxisPlace replica = replicas(spec, Axis::kTp, places);
    RC_ASSERT(is_counted(spec, places) == (replica.index == 0));
    RC_ASSERT((replica.index > 0) == (tp > 0 && box == before));
    before = box;
    if (!is_counted(spec, places)) continue;
    for_each_run(spec.shape, box, [&](BoxRun run) {
      for (std::int64_t i = 0; i < run.count; ++i) ++owners[static_cast<std::size_t>(run.global + i)];
    });
  }
  for (int times : owners) RC_ASSERT(times == 1);
}

TEST(ParamSpec, TwoHeadsOfKeysOnSixRanksLieOnThreeNeighboursEach) {
  ParamSpec spec;
  spec.shape = {2, 2, 4, 8};
  spec.cuts = {{1, Axis::kTp, 2}};
  AxisPlaces places;
  places[Axis::kTp] = {6, 4};
  EXPECT_EQ(local_box(spec, places), (Box{{0, 1, 0, 0}, {2, 1, 4, 8}}));
  EXPECT_EQ(replicas(spec, Axis::kTp, places), (AxisPlace{3, 1}));
  EXPECT_FALSE(is_counted(spec, places));
  spec.cuts.clear();
  EXPECT_EQ(replicas(spec, Axis::kTp, places), (AxisPlace{6, 4}));
  places[Axis::kTp].index = 0;
  EXPECT_TRUE(is_counted(spec, places));
  spec.tied_to = "another";
  EXPECT_FALSE(is_counted(spec, places));
}

// The fewest boxes that follow each other: by trying every cut of every range whose bounding box it fills.
int fewest_boxes(const Shape& shape, std::int64_t begin, std::int64_t end) {
  const auto is_box = [&](std::int64_t from, std::int64_t to) {
    std::int64_t volume = 1;
    std::int64_t stride = shape.elements();
    for (int dim = 0; dim < shape.dims(); ++dim) {
      stride /= shape[dim];
      std::int64_t low = shape[dim], high = -1;
      for (std::int64_t e = from; e < to; ++e) {
        low = std::min(low, e / stride % shape[dim]);
        high = std::max(high, e / stride % shape[dim]);
      }
      volume *= high - low + 1;
    }
    return volume == to - from;
  };
  std::vector<int> fewest(static_cast<std::size_t>(end - begin) + 1, 0);
  for (std::int64_t to = begin + 1; to <= end; ++to) {
    int& best = fewest[static_cast<std::size_t>(to - begin)] = 1 << 20;
    for (std::int64_t from = begin; from < to; ++from)
      if (is_box(from, to)) best = std::min(best, fewest[static_cast<std::size_t>(from - begin)] + 1);
  }
  return fewest.back();
}

RC_GTEST_PROP(Box, ARunIsTheFewestBoxesThatHoldItsElementsInOrder, ()) {
  Shape shape;
  const int dims = *rc::gen::inRange(0, 5);
  for (int dim = 0; dim < dims; ++dim) shape.append(*rc::gen::inRange<std::int64_t>(1, 5));
  const auto begin = *rc::gen::inRange<std::int64_t>(0, shape.elements() + 1);
  const auto end = *rc::gen::inRange<std::int64_t>(begin, shape.elements() + 1);
  const std::vector<Box> boxes = boxes_of_run(shape, begin, end);
  std::int64_t next = begin;
  for (const Box& box : boxes)
    for_each_run(shape, box, [&](BoxRun run) {
      RC_ASSERT(run.global == next);
      next += run.count;
    });
  RC_ASSERT(next == end);
  RC_ASSERT(static_cast<int>(boxes.size()) == fewest_boxes(shape, begin, end));
  RC_ASSERT(static_cast<int>(boxes.size()) <= std::max(1, 2 * dims - 1));
}

TEST(Box, ABoxOfABoxLiesWhereBothSay) {
  EXPECT_EQ(inside({{2, 3}, {4, 5}}, {{1, 0}, {2, 5}}), (Box{{3, 3}, {2, 5}}));
  EXPECT_DEATH(inside({{2, 3}, {4, 5}}, {{1, 0}, {4, 5}}), "leaves its tensor");
}

TEST(Box, UnevenPartsGiveTheLargerFirst) {
  EXPECT_EQ(part_of({7, 2}, 0, 3, 0), (Box{{0, 0}, {3, 2}}));
  EXPECT_EQ(part_of({7, 2}, 0, 3, 1), (Box{{3, 0}, {2, 2}}));
  EXPECT_EQ(part_of({7, 2}, 0, 3, 2), (Box{{5, 0}, {2, 2}}));
  EXPECT_EQ(part_of({1, 2}, 0, 3, 2), (Box{{1, 0}, {0, 2}}));
}

TEST(Box, AProductThatOverflowsIsNoNumber) {
  const std::int64_t large = std::int64_t{1} << 40;
  EXPECT_EQ(checked_elements({large, large}), std::nullopt);
  EXPECT_EQ(checked_elements({large, large, 0}), 0);
  EXPECT_EQ(checked_elements({large, 1 << 20}), std::int64_t{1} << 60);
  EXPECT_DEATH(whole({large, large}), "do not fit in 64 bits");
}

TEST(Box, ARunThatLeavesItsTensorIsABug) {
  EXPECT_DEATH(for_each_run({2, 3}, {{1, 0}, {2, 3}}, [](BoxRun) {}), "leaves its tensor");
}

}  // namespace
}  // namespace trireme
