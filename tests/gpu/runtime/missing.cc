#include "tests/gpu/runtime/missing.h"

#include <string>

#include "tests/gpu/runtime/finding.h"

namespace trireme::gpu {

void missing(const char* function, const char* library) {
  end_with_finding(std::string(function) + " of " + library +
                   " was called, which the stand-in does not have; write it in tests/gpu, or do without it");
}

}  // namespace trireme::gpu
