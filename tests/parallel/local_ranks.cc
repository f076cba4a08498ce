#include "tests/parallel/local_ranks.h"

#include <thread>

#include <gtest/gtest.h>

#include "monitoring/error.h"

namespace trireme {

LocalRank::LocalRank(LocalGroup& group, int rank, const HostOptions& options) : device_(make_host_device(options)) {
  compute_ = device_->create_stream(StreamKind::kCompute, "compute");
  communication_ = device_->create_stream(StreamKind::kCommunication, "communication");
  comm_ = group.join(rank, *device_);
}

LocalRank::~LocalRank() {
  comm_.reset();  // peers that still wait for this rank fail now
  device_->destroy_stream(communication_);
  device_->destroy_stream(compute_);
  for (std::byte* block : blocks_) device_->release(block);
}

Tensor LocalRank::allocate(const Shape& shape, DType dtype) {
  Tensor made{nullptr, dtype, shape};
  made.data = device_->allocate(made.bytes());
  blocks_.push_back(made.data);
  return made;
}

std::vector<std::string> run_ranks(int size, const LocalRun& how, const std::function<void(LocalRank&)>& body) {
  LocalGroup group(size, how.timeout);
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      whereabouts().rank = rank;
      HostOptions options = how.options;
      options.shuffle_seed += static_cast<std::uint64_t>(rank);
      try {
        LocalRank self(group, rank, options);
        body(self);
        self.device().synchronize(self.communication());
      } catch (const PeerError& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

void expect_ranks(int size, const LocalRun& how, const std::function<void(LocalRank&)>& body) {
  const std::vector<std::string> thrown = run_ranks(size, how, body);
  for (std::size_t rank = 0; rank < thrown.size(); ++rank) EXPECT_EQ(thrown[rank], "") << "rank " << rank;
}

}  // namespace trireme
