#include "tests/dataloader/shard/exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  trireme::exercise_shard({data, size});
  return 0;
}
