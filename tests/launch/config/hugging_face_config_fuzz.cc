#include "tests/launch/config/fuzz_bodies.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  trireme::fuzz_hugging_face_config(data, size);
  return 0;
}
