#include "tests/trainer/checkpoint/exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  trireme::exercise_checkpoint_manifest({data, size});
  return 0;
}
