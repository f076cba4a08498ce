// Declarations of PTX: variables with what they start as, and lists of parameters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/gpu/ptx/module.h"
#include "tests/gpu/ptx/reader.h"

namespace trireme::gpu {

constexpr std::uint32_t round_up(std::uint32_t value, std::uint32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// After the word of its space (".global"), up to and with the semicolon.
Variable read_variable(Reader& reader, const std::string& space);

// After the opening parenthesis, up to and with the closing one. `bytes`: of the whole buffer.
std::vector<Parameter> read_parameters(Reader& reader, std::uint32_t& bytes);

}  // namespace trireme::gpu
