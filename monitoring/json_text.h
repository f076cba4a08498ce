// The two pieces of JSON that are written by hand here: quoted strings, and numbers in shortest round-trip form. Only
// for monitoring/.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

// With its quotes. Bytes that are not UTF-8 become U+FFFD.
std::string json_quoted(std::string_view text);

// The shortest text that reads back to the same bits; what is not finite is quoted: "NaN", "Infinity", "-Infinity".
std::string json_number(double value);
std::string json_number(float value);

}  // namespace trireme
