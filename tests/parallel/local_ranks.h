// Runs a test's body once for each rank of a LocalGroup, each on its own thread with its own host device, and hands
// back what each rank threw.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/core/device.h"
#include "cuda/host/host_device.h"
#include "parallel/comm/local.h"

namespace trireme {

// What a rank's body works with. Memory is the test's own, made by `tensor`, and goes after the streams.
class LocalRank {
 public:
  LocalRank(LocalGroup& group, int rank, const HostOptions& options);
  ~LocalRank();
  LocalRank(const LocalRank&) = delete;
  LocalRank& operator=(const LocalRank&) = delete;

  Device& device() { return *device_; }
  Communicator& comm() { return *comm_; }
  int rank() const { return comm_->rank(); }
  int size() const { return comm_->size(); }
  Stream compute() const { return compute_; }
  Stream communication() const { return communication_; }

  // Device memory in which nothing was written yet.
  Tensor allocate(const Shape& shape, DType dtype = DType::kF32);
  // Device memory that holds `values`, or zeros, for what stands behind it on the communication stream.
  template <class T>
  Tensor tensor(const Shape& shape, DType dtype, const std::vector<T>& values) {
    const Tensor made = allocate(shape, dtype);
    CHECK(made.bytes() == values.size() * sizeof(T), "values of another size");
    device_->upload(communication_, made, values.data());
    return made;
  }
  Tensor floats(const std::vector<float>& values) {
    return tensor<float>({static_cast<std::int64_t>(values.size())}, DType::kF32, values);
  }
  Tensor zeros(const Shape& shape, DType dtype = DType::kF32) {
    return tensor<std::byte>(shape, dtype,
                             std::vector<std::byte>(static_cast<std::size_t>(shape.elements()) * bytes_of(dtype)));
  }
  // After what stands on the communication stream.
  template <class T>
  std::vector<T> read(const Tensor& from) {
    std::vector<T> values(from.bytes() / sizeof(T));
    device_->download(communication_, values.data(), from);
    device_->synchronize(communication_);
    return values;
  }

 private:
  std::unique_ptr<Device> device_;
  Stream compute_;
  Stream communication_;
  std::unique_ptr<Communicator> comm_;
  std::vector<std::byte*> blocks_;
};

struct LocalRun {
  std::chrono::milliseconds timeout = std::chrono::seconds(20);
  HostOptions options;  // shuffle_seed: each rank adds its own number
};

// What each rank threw, as text; "" if nothing. Element r is rank r's.
std::vector<std::string> run_ranks(int size, const LocalRun& how, const std::function<void(LocalRank&)>& body);
// The same, where nothing may be thrown.
void expect_ranks(int size, const LocalRun& how, const std::function<void(LocalRank&)>& body);

}  // namespace trireme
