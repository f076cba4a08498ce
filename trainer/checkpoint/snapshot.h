// A save must not stop the step, and what is saved must not change while it is written. So the tensors are copied out
// of the device first, as they will lie in the files; the threads that write afterwards touch nothing else.
//
// Every tensor of the files is assembled by one rank, its writer, chosen by the tensors' sizes alone so that each rank
// writes about as much. A writer that holds all of a parameter takes it from itself (data parallelism); else those who
// hold its boxes, of equal boxes the lowest rank, send them, a parameter at a time. Beside the snapshot itself memory
// holds one parameter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cuda/core/context.h"
#include "parallel/comm/communicator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/file_plan.h"

namespace trireme {

// The bytes of files[file].entries[entry].
struct TensorBytes {
  std::size_t file = 0;
  std::size_t entry = 0;
  std::size_t size = 0;
  std::unique_ptr<std::byte[]> memory;

  std::span<const std::byte> bytes() const { return {memory.get(), size}; }
};

// The tensors that this rank writes, in the order of the files. Collective; waits for the compute stream.
std::vector<TensorBytes> take_snapshot(Context& context, Communicator& world, const CheckpointState& state,
                                       const std::vector<PlannedFile>& files);

// fp32 to bf16 and fp16, and back; to nearest, ties to even; NaN stays NaN.
std::uint16_t round_to_bf16(float value);
std::uint16_t round_to_fp16(float value);
float from_bf16(std::uint16_t bits);
float from_fp16(std::uint16_t bits);

}  // namespace trireme
