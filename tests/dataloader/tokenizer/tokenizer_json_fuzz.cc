#include <cstdint>

#include "tests/dataloader/tokenizer/exercise.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  trireme::exercise_tokenizer_json({data, size});
  return 0;
}
