// A rank of a test: a host device, an arena of exactly the bytes given, and a place in a group of ranks that are
// threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "cuda/core/context.h"
#include "cuda/host/host_device.h"
#include "parallel/comm/local.h"
#include "trainer/step/training_step.h"

namespace trireme {

class TestRank {
 public:
  TestRank(LocalGroup& group, int rank, const HostOptions& options, std::size_t arena_bytes);
  ~TestRank();
  TestRank(const TestRank&) = delete;
  TestRank& operator=(const TestRank&) = delete;

  Context& context() { return *context_; }
  Communicator& peers() { return *peers_; }
  Stream communication() const { return streams_.communication; }
  StepStreams streams() const { return streams_; }

  // Values of a tensor of fp32, bf16 or fp16, after all that is on the compute stream.
  std::vector<double> read(const Tensor& tensor);
  // Rounds to the tensor's dtype.
  void write(const Tensor& tensor, const std::vector<double>& values);

 private:
  std::unique_ptr<Device> device_;
  std::byte* memory_;
  Stream compute_;
  StepStreams streams_;
  std::optional<Arena> arena_;
  std::optional<Context> context_;
  std::unique_ptr<Communicator> peers_;
};

// Runs `body` once for each rank, each on a thread of its own. What a body throws fails the test.
void run_as_ranks(int size, const std::function<void(LocalGroup&, int)>& body);

}  // namespace trireme
