#include "monitoring/json_text.h"

#include <charconv>
#include <cmath>

#include <nlohmann/json.hpp>

namespace trireme {
namespace {

template <class Float>
std::string shortest(Float value) {
  if (std::isnan(value)) return "\"NaN\"";
  if (std::isinf(value)) return value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  char digits[40];
  return {digits, std::to_chars(digits, digits + sizeof digits, value).ptr};
}

}  // namespace

std::string json_quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string json_number(double value) { return shortest(value); }
std::string json_number(float value) { return shortest(value); }

}  // namespace trireme
