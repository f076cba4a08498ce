// trireme_gpu parity FILE [OP]: every op of the table, or one, against its oracle on this machine's GPU.
// trireme_gpu bench FILE [small]: every op against its floor; `small` shapes try the driver, not the GPU.
// Each writes JSON to FILE and prints a table. Needs CUDA and libstdc++, nothing else. Exit code 1: an op is wrong.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>

#include <cuda_runtime.h>

#include "cuda/device/device.h"
#include "tests/cuda/device/alone/benchmarks.h"
#include "tests/cuda/device/alone/peaks.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::alone {
namespace {

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char letter : text) {
    if (letter == '"' || letter == '\\') out += '\\';
    out += letter == '\n' ? ' ' : letter;
  }
  return out + '"';
}
std::string number(double value) {
  char text[64];
  std::snprintf(text, sizeof text, "%.6g", value);
  return std::isfinite(value) ? text : "null";
}

int parity(Device& device, const Peaks& peaks, std::ofstream& out, const std::string& only) {
  int walked = 0;
  int wrong = 0;
  out << "{\"device\": " << quoted(peaks.device) << ", \"ops\": [";
  const char* separator = "\n";
  for (const parity::Case& one : parity::all_cases()) {
    if (!only.empty() && one.op != only) continue;
    ++walked;
    const parity::Report report = parity::run_case(one, device, device_kernels());
    double worst = 0;
    for (const parity::Comparison& comparison : report) worst = std::max(worst, comparison.worst);
    const bool agrees = parity::all_agree(report) && !report.empty();
    if (!agrees) ++wrong;
    std::printf("%-28s %5zu comparisons, worst %.3g of the tolerance%s\n", one.op.c_str(), report.size(), worst,
                agrees ? "" : "  WRONG");
    std::fputs(to_string(report).c_str(), stdout);
    out << separator << "{\"op\": " << quoted(one.op) << ", \"comparisons\": " << report.size()
        << ", \"worst\": " << number(worst) << ", \"agrees\": " << (agrees ? "true" : "false") << "}";
    separator = ",\n";
  }
  out << "]}\n";
  std::printf("%d ops, %d wrong, on %s\n", walked, wrong, peaks.device.c_str());
  return wrong == 0 && walked > 0 ? 0 : 1;
}

// The median of `repetitions`, each between two events of its own.
double seconds_of(const Benchmark& one, Stream stream, int repetitions) {
  cudaEvent_t begin, end;
  cudaEventCreate(&begin);
  cudaEventCreate(&end);
  const auto handle = static_cast<cudaStream_t>(stream.handle);
  std::vector<double> seconds;
  for (int i = 0; i < repetitions + 2; ++i) {
    cudaEventRecord(begin, handle);
    one.run(stream);
    cudaEventRecord(end, handle);
    cudaEventSynchronize(end);
    float milliseconds = 0;
    cudaEventElapsedTime(&milliseconds, begin, end);
    if (i >= 2) seconds.push_back(1e-3 * static_cast<double>(milliseconds));  // the first ones load and plan
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::nth_element(seconds.begin(), seconds.begin() + repetitions / 2, seconds.end());
  return seconds[static_cast<std::size_t>(repetitions / 2)];
}

int bench(Device& device, const Peaks& peaks, std::ofstream& out, bool small) {
  const Stream stream = device.create_stream(StreamKind::kCompute, "bench");
  {
    const Benchmarks benchmarks(device, device_kernels(), stream, small ? small_shapes() : Shapes());
    out << "{\"device\": " << quoted(peaks.device) << ", \"bytes_per_second\": " << number(peaks.bytes_per_second)
        << ", \"tensor_flop_per_second\": " << number(peaks.tensor_flop_per_second) << ", \"kernels\": [";
    std::printf("%-52s %10s %10s %7s\n", "measured here", "us", "floor us", "of it");
    const char* separator = "\n";
    for (const Benchmark& one : benchmarks.all()) {
      const double seconds = seconds_of(one, stream, small ? 1 : 20);
      double floor = one.bytes / peaks.bytes_per_second;  // infinite, and null in the report, where a peak is not known
      if (one.tensor_flop > 0) floor = std::max(floor, one.tensor_flop / peaks.tensor_flop_per_second);
      std::printf("%-52s %10.1f %10.1f %6.0f%%\n", one.name.c_str(), 1e6 * seconds, 1e6 * floor, 100 * floor / seconds);
      out << separator << "{\"name\": " << quoted(one.name) << ", \"seconds\": " << number(seconds)
          << ", \"floor_seconds\": " << number(floor) << ", \"bytes\": " << number(one.bytes)
          << ", \"tensor_flop\": " << number(one.tensor_flop) << "}";
      separator = ",\n";
    }
    out << "]}\n";
  }
  device.destroy_stream(stream);
  return 0;
}

int run(int count, char** words) {
  const std::string what = count > 2 ? words[1] : "";
  if (what != "parity" && what != "bench") {
    std::fputs("usage: trireme_gpu parity FILE [OP] | trireme_gpu bench FILE [small]\n", stderr);
    return 2;
  }
  int devices = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&devices); status != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "no GPU here: %s\n", cudaGetErrorString(status));
    return 2;
  }
  std::ofstream out(words[2]);
  const auto device = make_cuda_device(0);
  const Peaks peaks = peaks_of(0);
  const std::string detail = count > 3 ? words[3] : "";
  if (what == "parity") return parity(*device, peaks, out, detail);
  return bench(*device, peaks, out, detail == "small");
}

}  // namespace
}  // namespace trireme::alone

int main(int count, char** words) {
  try {
    return trireme::alone::run(count, words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "trireme_gpu: %s\n", error.what());
    return 1;
  }
}
