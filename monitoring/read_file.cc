#include "monitoring/read_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "monitoring/error.h"

namespace trireme {

FileBytes try_read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  FileBytes file;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {.problem = std::strerror(errno)};
  char block[1 << 16];
  ssize_t count = 0;
  while (file.bytes.size() <= max_bytes && (count = ::read(descriptor, block, sizeof block)) != 0) {
    if (count > 0) {
      file.bytes.append(block, static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      file = {.problem = std::strerror(errno)};
      break;
    }
  }
  ::close(descriptor);
  if (file.bytes.size() > max_bytes)
    file = {.problem = fmt::format("it is larger than the {} bytes that it may have", max_bytes)};
  return file;
}

std::string read_file(const std::filesystem::path& path, std::size_t max_bytes, std::string_view advice) {
  FileBytes file = try_read_file(path, max_bytes);
  if (!file.problem.empty())
    throw UserError(
        fmt::format("cannot read {}: {}{}{}", path.string(), file.problem, advice.empty() ? "" : ". ", advice));
  return std::move(file.bytes);
}

}  // namespace trireme
