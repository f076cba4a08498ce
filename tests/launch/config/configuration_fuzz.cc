#include "tests/launch/config/exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  trireme::exercise_configuration({data, size});
  return 0;
}
