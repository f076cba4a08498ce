#include "tests/gpu/ptx/declarations.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace trireme::gpu {
namespace {

struct Shape {
  std::uint32_t element_bytes = 0;
  std::uint32_t alignment = 0;  // 0: the element's
};

// ".align 8 .b8", ".u64 .ptr .global .align 16"; up to the name.
Shape read_shape(Reader& reader) {
  Shape shape;
  bool pointer = false;
  while (reader.peek().text.starts_with('.')) {
    const std::string word = reader.word();
    if (word == ".align") {
      const auto alignment = static_cast<std::uint32_t>(reader.integer());
      if (!pointer) shape.alignment = alignment;  // after .ptr it is said of what it points to
    } else if (word == ".ptr") {
      pointer = true;
    } else if (const std::uint32_t bytes = bytes_of_type(word.substr(1)); bytes != 0) {
      shape.element_bytes = bytes;
    } else if (!pointer) {
      reader.fail("what is " + word + " in a declaration?");
    }
  }
  if (shape.element_bytes == 0) reader.fail("a declaration without a type");
  if (shape.alignment == 0) shape.alignment = shape.element_bytes;
  return shape;
}

// "[4][5]": 20; no brackets: 1; "[]": 0.
std::uint32_t read_count(Reader& reader) {
  std::uint32_t count = 1;
  while (reader.accept("[")) {
    count *= reader.peek().text == "]" ? 0 : static_cast<std::uint32_t>(reader.integer());
    reader.expect("]");
  }
  return count;
}

void put(Variable& variable, std::uint32_t offset, std::uint64_t bits, std::uint32_t bytes, const Reader& reader) {
  if (offset + bytes > variable.bytes) reader.fail("more values than " + variable.name + " holds");
  variable.initial.resize(variable.bytes);
  std::memcpy(variable.initial.data() + offset, &bits, bytes);
}

std::uint32_t read_values(Reader& reader, Variable& variable, std::uint32_t element_bytes, std::uint32_t offset) {
  if (reader.accept("{")) {
    while (!reader.accept("}")) {
      offset = read_values(reader, variable, element_bytes, offset);
      if (reader.peek().text != "}") reader.expect(",");
    }
    return offset;
  }
  if (reader.peek().kind == Token::Kind::kWord) {
    const bool generic = reader.accept("generic");
    if (generic) reader.expect("(");
    Variable::AddressOf address{.offset = offset, .name = reader.word()};
    if (generic) reader.expect(")");
    if (reader.accept("+")) address.addend = reader.integer();
    if (element_bytes != 8) reader.fail("an address in fewer than 8 bytes");
    variable.addresses.push_back(address);
    put(variable, offset, 0, 8, reader);
  } else {
    const bool negative = reader.accept("-");
    const std::uint64_t bits = reader.number().bits;
    put(variable, offset, negative ? -bits : bits, element_bytes, reader);
  }
  return offset + element_bytes;
}

}  // namespace

Variable read_variable(Reader& reader, const std::string& space) {
  static const std::map<std::string, Space> spaces = {{".global", Space::kGlobal},
                                                      {".const", Space::kConst},
                                                      {".shared", Space::kShared},
                                                      {".local", Space::kLocal},
                                                      {".param", Space::kParam}};
  const Shape shape = read_shape(reader);
  Variable variable{.name = reader.word(), .space = spaces.at(space), .alignment = shape.alignment};
  variable.bytes = shape.element_bytes * read_count(reader);
  if (reader.accept("=")) read_values(reader, variable, shape.element_bytes, 0);
  reader.expect(";");
  return variable;
}

std::vector<Parameter> read_parameters(Reader& reader, std::uint32_t& bytes) {
  std::vector<Parameter> parameters;
  bytes = 0;
  while (!reader.accept(")")) {
    reader.expect(".param");
    const Shape shape = read_shape(reader);
    Parameter parameter{.name = reader.word(), .offset = round_up(bytes, shape.alignment)};
    parameter.bytes = shape.element_bytes * read_count(reader);
    bytes = parameter.offset + parameter.bytes;
    parameters.push_back(parameter);
    if (reader.peek().text != ")") reader.expect(",");
  }
  return parameters;
}

}  // namespace trireme::gpu
