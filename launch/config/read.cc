#include "launch/config/read.h"

#include <algorithm>

#include "launch/config/fields.h"
#include "launch/config/yaml_tree.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// Why `name` is no field of `section` ("" for the top), and what was likely meant: a field of that very name elsewhere,
// a near name here, or else the list of what there is.
std::string unknown_name(const std::string& section, std::string_view name, const Descriptor& message) {
  const std::string what = section.empty() ? "no such section or field" : "no such field";
  const std::vector<std::string> here = field_names(message);
  const std::string nearest = nearest_name(name, here);
  if (!nearest.empty()) return what + "; did you mean " + nearest + "?";
  for (const Field& field : all_fields()) {
    if (field.section && field.descriptor->name() == name) return what + "; did you mean " + field.path + "?";
  }
  return what + "; there are " + listed(here);
}

class Reader {
 public:
  Reader(config::Run& run, Sources& sources, Problems& problems) : run_(run), sources_(sources), problems_(problems) {}

  void read_mapping(const YamlNode& node, const std::string& section, const Descriptor& message) {
    for (std::size_t i = 0; i < node.keys.size(); ++i) {
      const YamlNode& key = node.keys[i];
      const std::string at = location_of(sources_.file(), key);
      if (key.kind != YamlNode::Kind::kScalar) {
        problems_.add(at, section, "a name is expected before the colon");
        continue;
      }
      const std::string path = section.empty() ? key.text : section + "." + key.text;
      const FieldDescriptor* field = message.FindFieldByName(key.text);
      if (!field) {
        problems_.add(at, printable(path), unknown_name(section, key.text, message));
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        read_section(node.children[i], path, *field->message_type());
      } else {
        read_field(key, node.children[i], path);
      }
    }
  }

 private:
  static std::string printable(const std::string& path) {
    const std::string text = quote_text(path);
    return text.size() == path.size() + 2 ? path : text;
  }

  void read_section(const YamlNode& node, const std::string& path, const Descriptor& message) {
    if (node.kind == YamlNode::Kind::kMapping) {
      read_mapping(node, path, message);
    } else if (node.kind != YamlNode::Kind::kNull) {  // a section with nothing in it is a section with defaults
      problems_.add(location_of(sources_.file(), node), path,
                    "this is a section; write its fields below it, indented: " + listed(field_names(message)));
    }
  }

  void read_field(const YamlNode& key, const YamlNode& node, const std::string& path) {
    const bool empty = node.kind == YamlNode::Kind::kNull;  // stands nowhere
    const std::string at = location_of(sources_.file(), empty ? key : node);
    if (empty) {
      problems_.add(at, path, "there is no value; write one, or leave the field out for its default");
    } else if (node.kind == YamlNode::Kind::kSequence && find_field(path)->is_list()) {
      read_list(node, *find_field(path));
      sources_.record(path, at);
    } else if (node.kind != YamlNode::Kind::kScalar) {
      problems_.add(at, path, one_value_instead_of(node));
    } else {
      assign(*find_field(path), at, node.text, node.in_quotes, run_, sources_, problems_);
    }
  }

  static std::string one_value_instead_of(const YamlNode& node) {
    return std::string("one value is expected, not a ") + (node.kind == YamlNode::Kind::kSequence ? "list" : "section");
  }

  // Each item has a place of its own.
  void read_list(const YamlNode& node, const Field& field) {
    if (node.children.empty())
      problems_.add(location_of(sources_.file(), node), field.path,
                    "there is no value in the list; write one, or more");
    for (const YamlNode& item : node.children) {
      const std::string reason = item.kind == YamlNode::Kind::kNull     ? "there is no value; write one"
                                 : item.kind != YamlNode::Kind::kScalar ? one_value_instead_of(item)
                                                                        : add_item(run_, field, item.text);
      if (!reason.empty()) problems_.add(location_of(sources_.file(), item), field.path, reason);
    }
    if (problems_.concerns(field.path)) clear_value(run_, field);
  }

 public:
  static void assign(const Field& field, const std::string& at, std::string_view text, bool in_quotes, config::Run& run,
                     Sources& sources, Problems& problems) {
    std::string reason = set_value(run, field, text, in_quotes);
    if (reason.empty()) reason = out_of_range(run, field);
    if (!reason.empty()) {
      problems.add(at, field.path, reason);
      clear_value(run, field);
    }
    sources.record(field.path, at);
  }

 private:
  config::Run& run_;
  Sources& sources_;
  Problems& problems_;
};

}  // namespace

const std::string& Sources::of(std::string_view path) const {
  const auto place = places_.find(path);
  return place == places_.end() ? file_ : place->second;
}

config::Run read_run(std::string_view text, Sources& sources, Problems& problems) {
  config::Run run;
  const YamlNode root = parse_yaml(sources.file(), text, problems);
  if (root.kind == YamlNode::Kind::kMapping) {
    Reader(run, sources, problems).read_mapping(root, "", *config::Run::descriptor());
    return run;
  }
  if (root.kind != YamlNode::Kind::kNull) {
    problems.add(location_of(sources.file(), root), "",
                 "this is not a configuration; its sections are " + listed(field_names(*config::Run::descriptor())) +
                     ", each with fields below it");
  }
  problems.throw_if_any();
  return run;
}

void apply_override(std::string_view assignment, config::Run& run, Sources& sources, Problems& problems) {
  const std::string at = "--set " + std::string(assignment.substr(0, 200));
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    problems.add(at, "", "SECTION.FIELD=VALUE is expected, for example model.hidden_size=512");
    return;
  }
  const std::string path(assignment.substr(0, equals));
  if (const Field* field = find_field(path)) {
    Reader::assign(*field, at, assignment.substr(equals + 1), false, run, sources, problems);
    return;
  }
  std::vector<std::string> paths;
  for (const Field& field : all_fields()) {
    paths.push_back(field.path);
    if (field.section && field.section->name() == path) {
      problems.add(
          at, "",
          path + " is a section; set one of its fields: " + listed(field_names(*field.section->message_type())));
      return;
    }
    if (field.descriptor->name() == path || (path.find('.') != std::string::npos && field.section &&
                                             path.substr(path.rfind('.') + 1) == field.descriptor->name())) {
      problems.add(at, "", "no such field; did you mean " + field.path + "?");
      return;
    }
  }
  const std::string nearest = nearest_name(path, paths);
  problems.add(at, "",
               nearest.empty() ? "no such field; `trireme config FILE` prints all there are"
                               : "no such field; did you mean " + nearest + "?");
}

}  // namespace trireme
