// Ops are plain functions, so a mistake that needs to know where its rank stands, or what it did before, finds it here:
// a rank of a trial puts all its work on streams from one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "cuda/core/tensor.h"
#include "parallel/mesh/axis.h"
#include "trainer/verify/trial.h"

namespace trireme {

struct PlantedRank {
  AxisPlaces at;
  int micro_batches = 1;  // of a step, for rate_counted_per_micro_batch()
  float first_rate = -1;  // the learning rate of the first step; negative before it

  // For bucket_reduced_early(): the embedding's gradient before the last contribution to it, and that contribution.
  struct Late {
    Tensor gradient, before, last;
  };
  Late late{};
  // For replicas_counted_by_all(): what several ranks of tensor parallelism hold, and how many they are.
  struct Replicated {
    Tensor gradients;
    int ranks = 1;
  };
  std::vector<Replicated> replicated{};

  // An f32 tensor of zeros, for the life of the rank.
  Tensor zeros(const Shape& shape);

 private:
  std::deque<std::vector<float>> memory_{};
};
PlantedRank& planted_rank();  // of this thread

std::int64_t place(Axis axis);
std::int64_t places(Axis axis);
bool is_one_of_several_ranks();

// A change to the op table of every rank.
TrialSeams planted_ops(void (*change)(Kernels&));

}  // namespace trireme
