// What the kinds of `trireme bench` share; each has its function, and bench.cc puts them together.
#pragma once

#include <string>
#include <vector>

#include "launch/bench/workload.h"
#include "launch/command_line/command.h"

namespace trireme {

struct BenchFlags {
  std::vector<std::string> sizes;  // as given to --size
  std::string dtype = "all";
  int threads = 0;

  void add(Command& command, const std::string& threads_text);  // --size, --dtype, --threads
  std::vector<Workload> workloads() const;
  std::vector<config::Precision> precisions() const;
};

const char* name_of(config::Precision precision);  // "fp32"
// "tiny fp32: 6 layers, hidden size 384, ..."
std::string describe(const Workload& workload, config::Precision precision);
std::string ratios_text(const std::vector<double>& ratios);  // "0.99 1.01"
// To standard output, at once.
void say(const std::string& text);

void add_bench_ops(Command& bench);
void add_bench_step(Command& bench);
void add_bench_scaling(Command& bench);

}  // namespace trireme
