// trireme_gpu parity FILE: every op of the table against its oracle, on this machine's first GPU.
// trireme_gpu bench FILE: every op at the 8B recipe's shapes against its floor.
// Each writes JSON to FILE and prints a table. Needs CUDA and libstdc++, nothing else. Exit codes: 0 all right, 1 an op
// is wrong or fails, 2 unknown arguments or no GPU.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <stdexcept>

#include <cuda_runtime.h>
#include <dlfcn.h>

#include "cuda/device/entry.h"
#include "tests/cuda/device/alone/benchmarks.h"
#include "tests/cuda/device/alone/gpu.h"
#include "tests/cuda/device/alone/json.h"
#include "tests/cuda/device/alone/timing.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::alone {
namespace {

constexpr const char* kUsage = R"(usage: trireme_gpu parity FILE [--op OP]
       trireme_gpu bench FILE [--op OP] [--shapes 8b|small] [--repetitions N]
  --op           one op of cuda/ops/kernels.h instead of all
  --shapes       8b: those of launch/recipes/llama-8b.yaml (default); small: they try the driver, not the GPU
  --repetitions  of which the median is taken (20)
)";

constexpr std::size_t kLeastFlush = std::size_t{128} << 20;  // bytes; and time to enqueue what is timed

struct Options {
  std::string what{}, file{}, op{}, shapes = "8b";
  int repetitions = 20;
};

// False if the words make no sense.
bool parse(int count, char** words, Options& options) {
  if (count < 3 || count % 2 == 0) return false;
  options.what = words[1];
  options.file = words[2];
  for (int i = 3; i < count; i += 2) {
    const std::string name = words[i], value = words[i + 1];
    if (name == "--op")
      options.op = value;
    else if (name == "--shapes" && (value == "8b" || value == "small"))
      options.shapes = value;
    else if (name == "--repetitions" && std::atoi(value.c_str()) > 0)
      options.repetitions = std::atoi(value.c_str());
    else
      return false;
  }
  if (options.what != "parity" && options.what != "bench") return false;
  const parity::Cases cases = parity::all_cases();
  return options.op.empty() ||
         std::any_of(cases.begin(), cases.end(), [&](const parity::Case& one) { return one.op == options.op; });
}

struct OpenedGpu {
  std::unique_ptr<Device> device;
  const Kernels* kernels;
};

// The object that a user's program opens too, from beside this one.
OpenedGpu open_gpu() {
  void* object = dlopen(kCudaObject, RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) throw std::runtime_error(dlerror());
  const auto open = reinterpret_cast<OpenCuda>(dlsym(object, kOpenCuda));
  if (open == nullptr) throw std::runtime_error(std::string(kCudaObject) + " has no " + kOpenCuda);
  CudaBackEnd opened;
  open(0, 1, &opened);
  if (opened.device == nullptr) throw std::runtime_error("no GPU: " + opened.unavailable);
  std::printf("%s\n", opened.description.c_str());
  return {std::unique_ptr<Device>(opened.device), opened.kernels};
}

// Written anew with each entry, so that a run that breaks off leaves what it had.
class Report {
 public:
  Report(const Options& options, const Gpu& gpu, const char* entries) : file_(options.file), entries_name_(entries) {
    head_.add_json("gpu", to_json(gpu));
    if (options.what == "bench") head_.add("shapes", options.shapes).add("repetitions", options.repetitions);
  }
  void add(const JsonObject& entry, bool right) {
    entries_.push_back(entry.text());
    failed_ += right ? 0 : 1;
    write(false);
  }
  int finish() {
    write(true);
    return failed_ == 0 && !entries_.empty() ? 0 : 1;
  }

 private:
  void write(bool complete) const {
    JsonObject all = head_;
    all.add("complete", complete).add("failed", failed_).add_json(entries_name_, json_array(entries_));
    std::ofstream out(file_);
    out << all.text() << "\n";
    if (!out.flush()) throw std::runtime_error("cannot write " + file_);
  }

  std::string file_;
  const char* entries_name_;
  JsonObject head_{};
  std::vector<std::string> entries_{};
  int failed_ = 0;
};

// A kernel that ran wild takes the GPU's context with it: nothing works after it, not even giving memory back.
void end_if_gpu_is_lost() {
  if (const cudaError_t status = cudaDeviceSynchronize(); status != cudaSuccess) {
    std::fprintf(stderr, "trireme_gpu: the GPU is lost to this process: %s\n", cudaGetErrorString(status));
    std::fflush(stdout);
    std::_Exit(1);
  }
}

void parity(const OpenedGpu& opened, const std::string& only, Report& report) {
  for (const parity::Case& one : parity::all_cases()) {
    if (!only.empty() && one.op != only) continue;
    std::printf("%-28s", one.op.c_str());
    std::fflush(stdout);
    const parity::Report compared = parity::run_case(one, *opened.device, *opened.kernels);
    double worst = 0;
    for (const parity::Comparison& comparison : compared) worst = std::max(worst, comparison.worst);
    const bool agrees = parity::all_agree(compared) && !compared.empty();
    std::printf(" %5zu comparisons, worst %.3g of the tolerance%s\n%s", compared.size(), worst, agrees ? "" : "  WRONG",
                to_string(compared).c_str());
    JsonObject entry;
    entry.add("op", one.op).add("comparisons", static_cast<int>(compared.size()));
    entry.add("worst_of_tolerance", worst).add("agrees", agrees);
    report.add(entry, agrees);
  }
}

void time_one(const Benchmark& one, const Timing& timing, const Gpu& gpu, Report& report) {
  std::printf("%-26s %-64s", one.op.c_str(), one.shape.c_str());
  std::fflush(stdout);
  JsonObject entry;
  entry.add("op", one.op).add("shape", one.shape).add("bytes", one.bytes).add("tensor_flop", one.tensor_flop);
  const double floor = floor_seconds(gpu, one.bytes, one.tensor_flop);
  entry.add("floor_seconds", floor);
  try {
    const Times times = timing.of(one.run);
    if (std::isfinite(floor))
      std::printf(" %10.1f %10.1f %6.0f%%\n", 1e6 * times.median, 1e6 * floor, 100 * floor / times.median);
    else
      std::printf(" %10.1f    unknown\n", 1e6 * times.median);
    entry.add("median_seconds", times.median).add("fastest_seconds", times.fastest);
    entry.add("slowest_seconds", times.slowest).add("floor_over_median", floor / times.median);
    report.add(entry, true);
  } catch (const std::exception& error) {
    std::printf(" FAILED: %s\n", error.what());
    entry.add("error", error.what());
    report.add(entry, false);
    end_if_gpu_is_lost();
  }
}

void bench(const OpenedGpu& opened, const Gpu& gpu, const Options& options, Report& report) {
  const bool small = options.shapes == "small";
  const std::size_t twice_l2 = static_cast<std::size_t>(2 * gpu.l2_bytes);
  const Stream stream = opened.device->create_stream(StreamKind::kCompute, "bench");
  {
    const Timing timing(*opened.device, stream, options.repetitions, small ? 4096 : std::max(kLeastFlush, twice_l2));
    const Benchmarks benchmarks(*opened.device, *opened.kernels, stream, small ? small_shapes() : Shapes());
    std::printf("%-26s %-64s %10s %10s %7s\n", "op", "measured here", "median us", "floor us", "of it");
    for (const Benchmark& one : benchmarks.all())
      if (options.op.empty() || one.op == options.op) time_one(one, timing, gpu, report);
  }
  opened.device->destroy_stream(stream);
}

int run(const Options& options) {
  int devices = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&devices); status != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "trireme_gpu: no GPU here: %s\n", cudaGetErrorString(status));
    return 2;
  }
  const OpenedGpu opened = open_gpu();
  const Gpu gpu = gpu_of(0);
  Report report(options, gpu, options.what == "parity" ? "ops" : "kernels");
  if (options.what == "parity")
    parity(opened, options.op, report);
  else
    bench(opened, gpu, options, report);
  return report.finish();
}

}  // namespace
}  // namespace trireme::alone

int main(int count, char** words) {
  trireme::alone::Options options;
  if (!trireme::alone::parse(count, words, options)) {
    std::fputs(trireme::alone::kUsage, stderr);
    return 2;
  }
  try {
    return trireme::alone::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trireme_gpu: %s\n", error.what());
    return 1;
  }
}
