#include "launch/config/fields.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>

#include "launch/config/problems.h"
#include "monitoring/check.h"

namespace trireme {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::vector<Field> collect_fields() {
  std::vector<Field> fields;
  const Descriptor& run = *config::Run::descriptor();
  for (int i = 0; i < run.field_count(); ++i) {
    const FieldDescriptor* top = run.field(i);
    if (top->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
      CHECK(!top->is_repeated() || top->cpp_type() == FieldDescriptor::CPPTYPE_ENUM, top->full_name(),
            ": lists are of named values");
      fields.push_back({top->name(), nullptr, top});
      continue;
    }
    const Descriptor& section = *top->message_type();
    for (int k = 0; k < section.field_count(); ++k) {
      CHECK(section.field(k)->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE && !section.field(k)->is_repeated(),
            section.field(k)->full_name(), ": sections hold scalars only");
      fields.push_back({top->name() + "." + section.field(k)->name(), top, section.field(k)});
    }
  }
  return fields;
}

const Message& owner(const config::Run& run, const Field& field) {
  return field.section ? run.GetReflection()->GetMessage(run, field.section) : run;
}
Message& owner(config::Run& run, const Field& field) {
  return field.section ? *run.GetReflection()->MutableMessage(&run, field.section) : run;
}

// Shortest text that reads back as the same number.
std::string number_text(double value) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, value);
  return std::string(text, end.ptr);
}

// A string as YAML: plain where that cannot be taken for anything else.
std::string string_text(const std::string& value) {
  bool plain = !value.empty() && value != "null" && value != "Null" && value != "NULL" && value != "~";
  for (char c : value) {
    plain = plain &&
            (std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '/' || c == '.' || c == '-' || c == '+');
  }
  if (plain && value[0] != '-' && value[0] != '.') return value;
  if (plain && value.size() > 1 && (value.starts_with("./") || value.starts_with("../"))) return value;
  std::string out = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      constexpr char kDigits[] = "0123456789abcdef";
      out += "\\x";
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[c & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  if (text.empty() || text[0] == '+') return std::nullopt;
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_double(std::string_view text) {
  const std::optional<double> value = parse_number<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

// Whole numbers may be written 300e9; beyond 2^53 only digit by digit.
template <class Whole>
std::string set_whole(std::string_view text, Whole& out) {
  if (const auto digits = parse_number<Whole>(text)) {
    out = *digits;
    return "";
  }
  const auto value = parse_double(text);
  if (!value) return "a whole number is expected, not " + quote_text(text);
  if (*value != std::floor(*value) && std::abs(*value) < 1e15) {
    return "a whole number is expected, not " + std::string(text) + "; the nearest are " +
           number_text(std::floor(*value)) + " and " + number_text(std::ceil(*value));
  }
  if (std::abs(*value) > 9007199254740992.0 || *value < static_cast<double>(std::numeric_limits<Whole>::min()) ||
      *value > static_cast<double>(std::numeric_limits<Whole>::max())) {
    return std::string(text) + " is out of range; it lies between " +
           std::to_string(std::numeric_limits<Whole>::min()) + " and " +
           std::to_string(std::numeric_limits<Whole>::max());
  }
  out = static_cast<Whole>(*value);
  return "";
}

// Sets the field, or adds an item to a list.
std::string put_enum(Message& message, const FieldDescriptor& field, std::string_view text) {
  const google::protobuf::EnumDescriptor& type = *field.enum_type();
  for (int i = 0; i < type.value_count(); ++i) {
    if (enum_spelling(*type.value(i)) != text) continue;
    if (field.is_repeated()) {
      message.GetReflection()->AddEnum(&message, &field, type.value(i));
    } else {
      message.GetReflection()->SetEnum(&message, &field, type.value(i));
    }
    return "";
  }
  const std::vector<std::string> spellings = enum_spellings(type);
  std::string choices;
  for (const std::string& spelling : spellings) choices += (choices.empty() ? "" : ", ") + spelling;
  const std::string nearest = nearest_name(text, spellings);
  return quote_text(text) + " is not one of " + choices + (nearest.empty() ? "" : "; did you mean " + nearest + "?");
}

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

// "full" or "[full, none]".
std::string set_list(config::Run& run, const Field& field, std::string_view text) {
  clear_value(run, field);
  text = trimmed(text);
  if (!text.starts_with('[') || !text.ends_with(']') || text.size() < 2) return add_item(run, field, text);
  text = text.substr(1, text.size() - 2);
  for (bool more = true; more;) {
    const std::size_t comma = text.find(',');
    const std::string reason = add_item(run, field, trimmed(text.substr(0, comma)));
    if (!reason.empty()) return reason;
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
  }
  return "";
}

std::string list_text(const Message& message, const FieldDescriptor& field) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const int size = reflection.FieldSize(message, &field);
  std::string text;
  for (int i = 0; i < size; ++i)
    text += (i > 0 ? ", " : "") + enum_spelling(*reflection.GetRepeatedEnum(message, &field, i));
  return size == 1 ? text : "[" + text + "]";
}

}  // namespace

const std::vector<Field>& all_fields() {
  static const std::vector<Field> fields = collect_fields();
  return fields;
}

const Field* find_field(std::string_view path) {
  for (const Field& field : all_fields()) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

std::vector<std::string> field_names(const Descriptor& message) {
  std::vector<std::string> names;
  for (int i = 0; i < message.field_count(); ++i) names.push_back(message.field(i)->name());
  return names;
}

std::string enum_spelling(const google::protobuf::EnumValueDescriptor& value) {
  if (value.name() == "one_f_one_b") return "1f1b";
  std::string spelling = value.name();
  for (char& c : spelling) c = c == '_' ? '-' : c;
  return spelling;
}

std::vector<std::string> enum_spellings(const google::protobuf::EnumDescriptor& type) {
  std::vector<std::string> spellings;
  for (int i = 0; i < type.value_count(); ++i) spellings.push_back(enum_spelling(*type.value(i)));
  return spellings;
}

bool has_value(const config::Run& run, const Field& field) {
  const Message& message = owner(run, field);
  if (field.is_list()) return message.GetReflection()->FieldSize(message, field.descriptor) > 0;
  return message.GetReflection()->HasField(message, field.descriptor);
}

std::string value_text(const config::Run& run, const Field& field) {
  const Message& message = owner(run, field);
  if (field.is_list()) return list_text(message, *field.descriptor);
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  switch (field.descriptor->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(reflection.GetInt32(message, field.descriptor));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(reflection.GetInt64(message, field.descriptor));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(reflection.GetUInt64(message, field.descriptor));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return number_text(reflection.GetDouble(message, field.descriptor));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, field.descriptor) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return enum_spelling(*reflection.GetEnum(message, field.descriptor));
    case FieldDescriptor::CPPTYPE_STRING:
      return string_text(reflection.GetString(message, field.descriptor));
    default:
      CHECK(false, field.path, ": a type that configurations do not have");
      return "";
  }
}

void clear_value(config::Run& run, const Field& field) {
  Message& message = owner(run, field);
  message.GetReflection()->ClearField(&message, field.descriptor);
}

void set_to_default(config::Run& run, const Field& field) {
  CHECK(field.descriptor->has_default_value(), field.path, " has no default in the schema");
  Message& message = owner(run, field);
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const FieldDescriptor* d = field.descriptor;
  switch (d->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      reflection.SetInt32(&message, d, d->default_value_int32());
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      reflection.SetInt64(&message, d, d->default_value_int64());
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      reflection.SetUInt64(&message, d, d->default_value_uint64());
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      reflection.SetDouble(&message, d, d->default_value_double());
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      reflection.SetBool(&message, d, d->default_value_bool());
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      reflection.SetEnum(&message, d, d->default_value_enum());
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      reflection.SetString(&message, d, d->default_value_string());
      break;
    default:
      CHECK(false, field.path, ": a type that configurations do not have");
  }
}

std::string add_item(config::Run& run, const Field& field, std::string_view text) {
  CHECK(field.is_list(), field.path, " is no list");
  return put_enum(owner(run, field), *field.descriptor, text);
}

std::string set_value(config::Run& run, const Field& field, std::string_view text, bool in_quotes) {
  if (field.is_list()) return set_list(run, field, text);
  Message& message = owner(run, field);
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const FieldDescriptor* descriptor = field.descriptor;
  const FieldDescriptor::CppType type = descriptor->cpp_type();
  if (in_quotes && type != FieldDescriptor::CPPTYPE_STRING && type != FieldDescriptor::CPPTYPE_ENUM) {
    return quote_text(text) + " is text because of its quotes; leave them out";
  }
  std::string reason;
  if (type == FieldDescriptor::CPPTYPE_INT32) {
    std::int32_t value = 0;
    reason = set_whole(text, value);
    if (reason.empty()) reflection.SetInt32(&message, descriptor, value);
  } else if (type == FieldDescriptor::CPPTYPE_INT64) {
    std::int64_t value = 0;
    reason = set_whole(text, value);
    if (reason.empty()) reflection.SetInt64(&message, descriptor, value);
  } else if (type == FieldDescriptor::CPPTYPE_UINT64) {
    std::uint64_t value = 0;
    reason = set_whole(text, value);
    if (reason.empty()) reflection.SetUInt64(&message, descriptor, value);
  } else if (type == FieldDescriptor::CPPTYPE_DOUBLE) {
    const auto value = parse_double(text);
    if (!value) return "a number is expected, not " + quote_text(text);
    reflection.SetDouble(&message, descriptor, *value);
  } else if (type == FieldDescriptor::CPPTYPE_BOOL) {
    if (text != "true" && text != "false") return "true or false is expected, not " + quote_text(text);
    reflection.SetBool(&message, descriptor, text == "true");
  } else if (type == FieldDescriptor::CPPTYPE_ENUM) {
    reason = put_enum(message, *descriptor, text);
  } else {
    reflection.SetString(&message, descriptor, std::string(text));
  }
  return reason;
}

}  // namespace trireme
