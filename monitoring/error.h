// What went wrong outside the program decides its exit code, and scripts act on that code: a job manager requeues a
// preempted run, but not one whose configuration is wrong. Each kind of failure is a type with its code; `main` catches
// Error, prints what() as one readable paragraph and exits with it.
//
// what() names the place (file, line, byte, rank, tensor) and says what to do next.
#pragma once

#include <stdexcept>
#include <string>

namespace trireme {

enum class ExitCode : int {
  kDone = 0,
  kUserError = 2,      // the user's mistake: flags, configuration, missing files
  kDamagedData = 3,    // a damaged shard, or no usable checkpoint
  kPeerFailed = 4,     // another rank or a device failed
  kStoppedSaved = 75,  // ended by a signal, after saving (EX_TEMPFAIL: run it again)
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

struct UserError : Error {
  explicit UserError(const std::string& message) : Error(ExitCode::kUserError, message) {}
};
struct DamagedDataError : Error {
  explicit DamagedDataError(const std::string& message) : Error(ExitCode::kDamagedData, message) {}
};
struct PeerError : Error {
  explicit PeerError(const std::string& message) : Error(ExitCode::kPeerFailed, message) {}
};

}  // namespace trireme
