#include "tests/trainer/test_rank.h"

#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "trainer/checkpoint/snapshot.h"

namespace trireme {

TestRank::TestRank(LocalGroup& group, int rank, const HostOptions& options, std::size_t arena_bytes)
    : device_(make_host_device(options)),
      memory_(device_->allocate(arena_bytes)),
      compute_(device_->create_stream(StreamKind::kCompute, "compute")),
      streams_{device_->create_stream(StreamKind::kCommunication, "communication"),
               device_->create_stream(StreamKind::kCommunication, "transfers")},
      arena_(std::in_place, memory_, arena_bytes),
      context_(Context{.device = device_.get(), .ops = &host_kernels(), .arena = &*arena_, .compute = compute_}),
      peers_(group.join(rank, *device_)) {}

TestRank::~TestRank() {
  peers_.reset();
  device_->destroy_stream(streams_.transfers);
  device_->destroy_stream(streams_.communication);
  device_->destroy_stream(compute_);
  arena_.reset();
  device_->release(memory_);
}

std::vector<double> TestRank::read(const Tensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes());
  device_->download(compute_, bytes.data(), tensor);
  device_->synchronize(compute_);
  std::vector<double> values;
  for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.elements()); ++i) {
    float value = 0;
    std::uint16_t bits = 0;
    if (tensor.dtype == DType::kF32) {
      std::memcpy(&value, &bytes[4 * i], 4);
    } else {
      std::memcpy(&bits, &bytes[2 * i], 2);
      value = tensor.dtype == DType::kBF16 ? from_bf16(bits) : from_fp16(bits);
    }
    values.push_back(value);
  }
  return values;
}

void TestRank::write(const Tensor& tensor, const std::vector<double>& values) {
  CHECK(static_cast<std::size_t>(tensor.elements()) == values.size(), values.size(), " values for ",
        to_string(tensor.shape));
  std::vector<float> wide(values.begin(), values.end());
  std::vector<std::uint16_t> narrow;
  for (const float value : wide)
    narrow.push_back(tensor.dtype == DType::kF16 ? round_to_fp16(value) : round_to_bf16(value));
  if (tensor.dtype == DType::kF32)
    device_->upload(compute_, tensor, wide.data());
  else
    device_->upload(compute_, tensor, narrow.data());
}

void run_as_ranks(int size, const std::function<void(LocalGroup&, int)>& body) {
  LocalGroup group(size);
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(group, rank);
      } catch (const std::exception& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
        group.leave(rank, error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t rank = 0; rank < thrown.size(); ++rank) EXPECT_EQ(thrown[rank], "") << "rank " << rank;
}

}  // namespace trireme
