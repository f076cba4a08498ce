#include "launch/command_line/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "monitoring/error.h"

namespace trireme {
namespace {

[[noreturn]] void fail(int error) {
  if (error == EPIPE) throw OutputClosed{};
  throw UserError(std::string("cannot write to standard output: ") + std::strerror(error));
}

}  // namespace

void write_output(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail(errno);
}

void flush_output() {
  if (std::fflush(stdout) != 0) fail(errno);
}

}  // namespace trireme
