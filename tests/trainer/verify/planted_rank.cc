#include "tests/trainer/verify/planted_rank.h"

namespace trireme {

Tensor PlantedRank::zeros(const Shape& shape) {
  std::vector<float>& values = memory_.emplace_back(static_cast<std::size_t>(shape.elements()));
  return {reinterpret_cast<std::byte*>(values.data()), DType::kF32, shape};
}

PlantedRank& planted_rank() {
  thread_local PlantedRank rank;
  return rank;
}

std::int64_t place(Axis axis) { return planted_rank().at[axis].index; }
std::int64_t places(Axis axis) { return planted_rank().at[axis].parts; }
bool is_one_of_several_ranks() { return places(Axis::kDp) * places(Axis::kPp) * places(Axis::kTp) > 1; }

TrialSeams planted_ops(void (*change)(Kernels&)) {
  TrialSeams seams;
  seams.kernels = [change](const Kernels& honest, const AxisPlaces& at) {
    planted_rank().at = at;
    Kernels planted = honest;
    change(planted);
    return planted;
  };
  return seams;
}

}  // namespace trireme
