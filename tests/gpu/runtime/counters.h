// What each kernel did over a run, for the report and for whoever asks: the sums of its launches' counters, and how
// close it came to what its bytes and banks need.
//
//   {"report": "kernel", "pid": 7, "name": "...", "launches": 2, "global_bytes_read": 4096, ...}
#pragma once

#include <string>

#include "tests/gpu/execute/launch.h"

namespace trireme::gpu {

void count(const std::string& kernel, const Counters& counters);

// Adds a line for each kernel to the process's report.
void report_counters();

}  // namespace trireme::gpu
