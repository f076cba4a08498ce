#include "monitoring/check.h"

#include <cstdio>
#include <cstdlib>

namespace trireme {

Whereabouts& whereabouts() {
  thread_local Whereabouts mine;
  return mine;
}

void check_failed(const char* file, int line, const char* condition, const std::string& message) {
  const Whereabouts& at = whereabouts();
  std::string where;
  if (at.rank >= 0) where += " on rank " + std::to_string(at.rank);
  if (at.step >= 0) where += " in step " + std::to_string(at.step);
  std::fprintf(stderr, "trireme: a bug%s: %s:%d: CHECK(%s) failed%s%s\n", where.c_str(), file, line, condition,
               message.empty() ? "" : ": ", message.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace trireme
