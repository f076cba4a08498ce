// The schema lives in .proto files; this is how the configuration's code sees it: a field has a dotted path, a spelling
// of its value in YAML, and for numbers a range. Everything is reflection, so a field added to a .proto can be read,
// overridden and printed at once; it only needs its range in ranges.cc, and a test says so when it is missing.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/run.pb.h"

namespace trireme {

// A field of config::Run: "model.heads" is the field `heads` of the message at `model`. A list is of named values; of a
// single one it is written as that value: `recompute: full`, `recompute: [full, none]`.
struct Field {
  std::string path;
  const google::protobuf::FieldDescriptor* section = nullptr;  // null at the top: recompute, numerics, device
  const google::protobuf::FieldDescriptor* descriptor = nullptr;
  bool is_list() const { return descriptor->is_repeated(); }
};

// All fields but the sections, in the schema's order.
const std::vector<Field>& all_fields();
const Field* find_field(std::string_view path);  // null if there is none
std::vector<std::string> field_names(const google::protobuf::Descriptor& message);

// In YAML `one_f_one_b` is written 1f1b, and `_` in other values -.
std::string enum_spelling(const google::protobuf::EnumValueDescriptor& value);
std::vector<std::string> enum_spellings(const google::protobuf::EnumDescriptor& type);

bool has_value(const config::Run& run, const Field& field);          // set, not only defaulted
std::string value_text(const config::Run& run, const Field& field);  // as YAML, the default's if not set; round-trips
void clear_value(config::Run& run, const Field& field);
void set_to_default(config::Run& run, const Field& field);  // writes the schema's default out; needs one

// Parses `text` as the field's type and sets it; a list may be written [full, none]. Returns the reason, with the
// nearest valid value, if it cannot. `in_quotes`: the text was quoted, which numbers may not be.
std::string set_value(config::Run& run, const Field& field, std::string_view text, bool in_quotes);
// The same for one more item of a list.
std::string add_item(config::Run& run, const Field& field, std::string_view text);

// The schema's bounds of a number, inclusive unless `open`. What depends on other fields is in validate.cc.
struct Range {
  double low, high;
  bool open_low = false, open_high = false;
};
const Range* range_of(std::string_view path);  // null: not a number, or forgotten (a test finds that)
std::string out_of_range(const config::Run& run, const Field& field);  // the reason, "" if within

}  // namespace trireme
