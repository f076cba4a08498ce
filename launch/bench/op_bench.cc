#include "launch/bench/op_bench.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "cuda/core/device_memory.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLeastCalls = 3;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

double fastest_call(Context& context, double least_seconds, const std::function<void()>& op) {
  op();  // touches the memory, builds the library's kernels
  context.device->synchronize(context.compute);
  double fastest = std::numeric_limits<double>::infinity();
  const auto start = Clock::now();
  for (int call = 0; call < kLeastCalls || seconds_since(start) < least_seconds; ++call) {
    const auto begin = Clock::now();
    op();
    context.device->synchronize(context.compute);
    fastest = std::min(fastest, seconds_since(begin));
  }
  return fastest;
}

}  // namespace

OpBench::OpBench(Context& context, const Workload& workload, DType dtype_of_activations, double least_seconds)
    : ops(*context.ops),
      stream(context.compute),
      dtype(dtype_of_activations),
      s(static_cast<double>(bytes_of(dtype))),
      T(workload.sequence_length),
      R(workload.tokens()),
      C(workload.hidden_size),
      F(4 * C),
      V(workload.vocabulary),
      H(workload.heads()),
      D(Workload::kHeadSize),
      context_(context),
      workload_(workload),
      least_seconds_(least_seconds) {}

OpBench::~OpBench() {
  for (std::byte* block : blocks_) context_.device->release(block);
}

Tensor OpBench::filled(const Shape& shape, DType as, float value) {
  const Tensor tensor{
      context_.device->allocate(std::max<std::size_t>(1, static_cast<std::size_t>(shape.elements()) * bytes_of(as))),
      as, shape};
  blocks_.push_back(tensor.data);
  ops.fill(stream, tensor, value);
  return tensor;
}

Tensor OpBench::uploaded(const Shape& shape, DType as, const void* values) {
  const Tensor tensor = filled(shape, as, 0);
  context_.device->upload(stream, tensor, values);
  return tensor;
}

Tensor OpBench::tokens() { return uploaded({R}, DType::kI32, random_batch(workload_, 1).tokens.data()); }

Tensor OpBench::positions() { return uploaded({R}, DType::kI32, random_batch(workload_, 1).positions.data()); }

Tensor OpBench::causal() {
  std::vector<std::int32_t> keys;
  for (std::int64_t r = 0; r < R; ++r) {
    keys.push_back(static_cast<std::int32_t>(r / T * T));
    keys.push_back(static_cast<std::int32_t>(r + 1));
  }
  return uploaded({R, 2}, DType::kI32, keys.data());
}

RowIds OpBench::row_ids() {
  std::vector<std::int64_t> samples;
  for (std::int64_t r = 0; r < R; ++r) samples.push_back(r / T);
  return {uploaded({R}, DType::kI64, samples.data()), positions()};
}

void OpBench::measure(const std::string& shape, const Work& work, const std::function<void()>& op) {
  results_.push_back({"", shape, work, fastest_call(context_, least_seconds_, op)});
}

std::vector<OpResult> OpBench::take_results(const std::string& op) {
  std::vector<OpResult> results = std::move(results_);
  for (OpResult& result : results) result.op = op;
  results_.clear();
  return results;
}

double measure_copy_bandwidth(Context& context) {
  constexpr std::int64_t kElements = std::int64_t{32} << 20;  // 128 MiB each
  constexpr double kSeconds = 0.3;
  const std::size_t bytes = kElements * bytes_of(DType::kF32);
  const DeviceMemory memory(*context.device, 2 * bytes);
  const Tensor from{memory.begin(), DType::kF32, {kElements}};
  const Tensor to{memory.begin() + bytes, DType::kF32, {kElements}};
  context.ops->fill(context.compute, from, 0.5f);
  const double seconds = fastest_call(context, kSeconds, [&] { context.ops->copy(context.compute, to, from); });
  return 2 * static_cast<double>(bytes) / seconds;
}

std::vector<OpResult> measure_ops(Context& context, const Workload& workload, DType dtype, const std::string& filter,
                                  double least_seconds) {
  std::vector<OpResult> all;
  for (const OpCase& which : op_cases()) {
    if (std::string(which.op).find(filter) == std::string::npos) continue;
    OpBench bench(context, workload, dtype, least_seconds);
    which.run(bench);
    for (OpResult& result : bench.take_results(which.op)) all.push_back(std::move(result));
  }
  return all;
}

}  // namespace trireme
