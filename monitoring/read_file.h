// Read through a stream, a folder is an empty string, a file that a failing disk cuts off is a shorter one, and a wrong
// path can be a terabyte: none of it is said. Whatever is read whole is read here, and it is said which file and why.
//
// `max_bytes` is more than the right file ever has. Pipes are read to their end.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace trireme {

// "cannot read PATH: REASON. ADVICE", as a UserError.
std::string read_file(const std::filesystem::path& path, std::size_t max_bytes, std::string_view advice = {});

// For those to whom a file that cannot be read is no mistake of the user's.
struct FileBytes {
  std::string bytes{};
  std::string problem{};  // the reason, such as "No such file or directory"; empty: all of the file is in `bytes`
};
FileBytes try_read_file(const std::filesystem::path& path, std::size_t max_bytes);

}  // namespace trireme
