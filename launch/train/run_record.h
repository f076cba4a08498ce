// Which layout, which hosts, when, how often started: all that the weights must not depend on, and that people ask for
// afterwards. RUN/run.json holds it, outside of checkpoints: one entry an attempt, written by rank 0 when the attempt
// begins and when it ends.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace trireme {

class RunRecord {
 public:
  struct Attempt {
    std::string layout;              // "dp=2", for people
    std::vector<std::string> hosts;  // by rank
    std::string configuration;       // resolved, as YAML
  };

  // Reads RUN/run.json if there is one and appends an attempt to it, durably. Throws UserError if the folder cannot be
  // written, DamagedDataError if the file is not a run's record.
  RunRecord(const std::filesystem::path& dir, const Attempt& attempt);

  int attempt() const { return attempt_; }  // of this process, from 1
  void ended(std::int64_t step, const std::string& how);

 private:
  std::filesystem::path path_;
  int attempt_ = 1;
};

}  // namespace trireme
