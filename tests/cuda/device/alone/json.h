// The report is JSON, and where it is written there may be nothing but CUDA and libstdc++: objects and arrays as text.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace trireme::alone {

inline std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char letter : text) {
    if (letter == '"' || letter == '\\') out += '\\';
    out += static_cast<unsigned char>(letter) < ' ' ? ' ' : letter;
  }
  return out += '"';
}

class JsonObject {
 public:
  JsonObject& add(const char* name, const std::string& text) { return add_json(name, quoted(text)); }
  JsonObject& add(const char* name, const char* text) { return add_json(name, quoted(text)); }
  JsonObject& add(const char* name, bool value) { return add_json(name, value ? "true" : "false"); }
  JsonObject& add(const char* name, double value) {  // null unless finite
    char digits[64];
    std::snprintf(digits, sizeof digits, "%.9g", value);
    return add_json(name, std::isfinite(value) ? digits : "null");
  }
  JsonObject& add(const char* name, int value) { return add_json(name, std::to_string(value)); }
  JsonObject& add_json(const char* name, const std::string& value) {
    members_ += (members_.empty() ? "" : ", ");
    members_ += quoted(name);
    members_ += ": ";
    members_ += value;
    return *this;
  }
  std::string text() const {
    std::string out = "{";
    out += members_;
    return out += '}';
  }

 private:
  std::string members_;
};

// A line each.
inline std::string json_array(const std::vector<std::string>& values) {
  std::string out = "[";
  const char* separator = "\n";
  for (const std::string& value : values) {
    out += separator;
    out += value;
    separator = ",\n";
  }
  return out += ']';
}

}  // namespace trireme::alone
