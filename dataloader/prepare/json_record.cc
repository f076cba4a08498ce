#include "dataloader/prepare/json_record.h"

#include <nlohmann/json.hpp>

#include "monitoring/error.h"

namespace trireme {
namespace {

using nlohmann::json;

// Keeps one top-level string and the names beside it. Returning false ends the parse: the reason is in `problem`.
class FieldReader : public nlohmann::json_sax<json> {
 public:
  explicit FieldReader(const std::string& field) : field_(field) {}

  bool null() override { return value("null"); }
  bool boolean(bool) override { return value("a boolean"); }
  bool number_integer(number_integer_t) override { return value("a number"); }
  bool number_unsigned(number_unsigned_t) override { return value("a number"); }
  bool number_float(number_float_t, const string_t&) override { return value("a number"); }
  bool binary(binary_t&) override { return value("binary"); }
  bool string(string_t& text_) override {
    if (!wanted_) return value("a string");
    wanted_ = false;
    found = true;
    text = std::move(text_);
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    wanted_ = name == field_;
    if (wanted_ && found) return refuse("has the field \"" + field_ + "\" twice");
    if (!wanted_ && names.size() < 200) names += (names.empty() ? "\"" : ", \"") + name + "\"";
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ > 0 && !value("an object")) return false;
    ++depth_;
    return true;
  }
  bool start_array(std::size_t) override {
    if (!value("an array")) return false;
    ++depth_;
    return true;
  }
  bool end_object() override { return --depth_, true; }
  bool end_array() override { return --depth_, true; }
  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    std::string what = error.what();
    const std::size_t column = what.find("column ");  // the line is always 1: drop it
    if (column != std::string::npos) what = what.substr(column);
    if (what.size() > 300) what = what.substr(0, 300) + "...";
    return refuse("is not valid JSON: " + what);
  }

  bool found = false;
  std::string text;
  std::string names;  // of the other fields
  std::string problem;

 private:
  bool refuse(const std::string& why) {
    problem = why;
    return false;
  }
  // A value that is not the wanted string.
  bool value(const char* kind) {
    if (depth_ == 0)
      return refuse(std::string("is ") + kind + "; expected an object with the field \"" + field_ + "\"");
    if (wanted_) return refuse("has " + std::string(kind) + " as \"" + field_ + "\"; expected a string");
    return true;
  }

  const std::string& field_;
  int depth_ = 0;
  bool wanted_ = false;  // the value that comes next is the field's
};

}  // namespace

std::string json_text(std::string_view line, const std::string& field, const std::string& place) {
  FieldReader reader(field);
  json::sax_parse(line.begin(), line.end(), &reader);
  if (reader.problem.empty() && !reader.found) {
    reader.problem = "has no field \"" + field + "\"; it has " + (reader.names.empty() ? "none" : reader.names) +
                     ": choose one of them as the text field";
  }
  if (!reader.problem.empty()) throw UserError(place + ": the line " + reader.problem);
  return std::move(reader.text);
}

}  // namespace trireme
