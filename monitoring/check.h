// A bug must stop the program where it is, and say who and when: in a job of many ranks a bare "assertion failed" is
// useless. CHECK aborts with the file, the condition, the rank and the step. It is for mistakes of ours; what a user or
// a peer did wrong is thrown (monitoring/error.h).
//
// Needs nothing but the standard library, so that the device floor builds alone.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>

namespace trireme {

// What the calling thread works for. Set when a rank's threads start; printed by a failing CHECK. -1: not known.
struct Whereabouts {
  int rank = -1;
  std::int64_t step = -1;
};
Whereabouts& whereabouts();  // of the calling thread

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& message);

namespace check_internal {
template <class... Parts>
std::string join(const Parts&... parts) {
  std::ostringstream out;
  static_cast<void>((out << ... << parts));
  return out.str();
}
}  // namespace check_internal

}  // namespace trireme

// CHECK(rows > 0, "rows = ", rows): everything after the condition is streamed into the message.
#define CHECK(condition, ...)                                                                                \
  do {                                                                                                       \
    if (!(condition)) [[unlikely]]                                                                           \
      ::trireme::check_failed(__FILE__, __LINE__, #condition, ::trireme::check_internal::join(__VA_ARGS__)); \
  } while (false)
