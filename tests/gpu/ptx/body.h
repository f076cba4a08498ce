// The body of a kernel or function: declarations, labels and instructions, with the names of inner blocks made unique.
#pragma once

#include "tests/gpu/ptx/module.h"
#include "tests/gpu/ptx/reader.h"

namespace trireme::gpu {

// From the opening brace to the closing one, into `function`.
void read_body(Reader& reader, Function& function);

}  // namespace trireme::gpu
