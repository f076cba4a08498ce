// What a GPU could do at most, from its own description: the floor under a kernel's time is the larger of the bytes it
// has to move over `bytes_per_second` and its products over `products_per_second`. Clocks are the highest that the
// device names; under load it may not hold them, so that a kernel can be closer to what is possible than it looks.
#pragma once

#include <string>

namespace trireme::alone {

struct Peaks {
  std::string device;                 // name, compute capability
  double bytes_per_second = 0;        // of device memory
  double tensor_flop_per_second = 0;  // dense bf16 and fp16, sums in fp32; 0: not known for this capability
};

Peaks peaks_of(int device);

}  // namespace trireme::alone
