// What happened in a run, for tests to read: how often the host waited for the device and by which call, what was
// launched, and what each kernel did. Appended to TRIREME_GPU_REPORT at the process's end, as one JSON object a line.
//
//   {"report": "host_synchronisations", "pid": 7, "rank": 0, "cudaStreamSynchronize": 3, "cudaMemcpy": 1}
//   {"report": "calls", "pid": 7, "rank": 0, "kernels": 12, "copies": 4, "memsets": 1, "matmuls": 6, "collectives": 2}
//   any lines that others added
//
// Thread-safe. One for each process.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace trireme::gpu {

class Report {
 public:
  static Report& of_process();

  void host_synchronised(const char* call);  // a call that made, or may have made, the host wait for the device
  void count(const char* what);
  void add_line(std::string json);  // a whole JSON object, without its newline

  std::uint64_t host_synchronisations() const;  // so far, by any call
  void write();                                 // appends everything to the report file, once

 private:
  std::string object(const char* name, const std::map<std::string, std::uint64_t>& counts) const;

  mutable std::mutex mutex_;
  bool written_ = false;
  std::map<std::string, std::uint64_t> synchronisations_;
  std::map<std::string, std::uint64_t> counts_;
  std::vector<std::string> lines_;
};

}  // namespace trireme::gpu
