#include "tests/dataloader/shard/exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  trireme::exercise_manifest({data, size});
  return 0;
}
