// Which rank of a pipeline holds which stage, and which stage holds which layers: asked by schedules, the simulator,
// the interpreter and checkpoints alike, and answered here by pure functions.
#pragma once

namespace trireme {

// `ranks` in a row, each with `chunks` stages: rank r holds stages r, r + ranks, r + 2 ranks, ... (D. Narayanan et al.,
// arXiv:2104.04473, section 2.2).
struct PipelineShape {
  int ranks = 1;
  int chunks = 1;

  int stages() const { return ranks * chunks; }
  int last_stage() const { return stages() - 1; }
  int rank_of(int stage) const { return stage % ranks; }
  int stage_of(int rank, int chunk) const { return chunk * ranks + rank; }
  bool operator==(const PipelineShape&) const = default;
};

// Blocks [first, last) of `layers` that stage `stage` of `stages` holds. Where they do not divide, the first stages
// have one more: the last one has the head to compute.
struct StageBlocks {
  int first = 0;
  int last = 0;
  bool operator==(const StageBlocks&) const = default;
};
constexpr StageBlocks blocks_of(int layers, int stages, int stage) {
  const int size = layers / stages, larger = layers % stages;
  const int first = stage * size + (stage < larger ? stage : larger);
  return {first, first + size + (stage < larger ? 1 : 0)};
}

}  // namespace trireme
