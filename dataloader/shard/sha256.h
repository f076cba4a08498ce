// The digest by which other people's tools name a file.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

std::string sha256_hex(std::string_view bytes);  // 64 hexadecimal digits

}  // namespace trireme
