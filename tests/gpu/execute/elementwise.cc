#include "tests/gpu/execute/elementwise.h"

#include <algorithm>
#include <set>

namespace trireme::gpu {
namespace {

using Values = std::vector<std::uint64_t>;

// f16 (5 bits of exponent, 10 of mantissa) and bf16 (8 and 7), and small integers.
const Values kEdges16 = {
    0x0000, 0x8000, 0x0001, 0x8001, 0x0002, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x0401,  // f16 zeros, subnormals, least
                                                                                     // normal
    0x3800, 0x3C00, 0xBC00, 0x3C01, 0x3E00, 0x4000, 0x4100, 0xC100, 0x4248, 0x7BFF,  // 1/2, 1, 1.5, 2, 2.5, pi, most
    0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFE01, 0x7FFF, 0xFFFF, 0x6400, 0x6401,  // infinities, NaN, 1024
    0x007F, 0x807F, 0x0080, 0x8080, 0x3F80, 0xBF80, 0x3F81, 0x3FC0, 0x7F7F, 0xFF7F,  // bf16
    0x7F80, 0xFF80, 0x7F81, 0xFF81, 0x4300, 0x0003, 0x000F, 0x0010, 0x0011, 0x00FF, 0x0100, 0x5555};

const Values kEdges32 = {
    0,          1,          2,          3,          7,          15,         16,         17,
    24,         31,         32,         33,         63,         64,         65,         127,
    128,        255,        256,        0x7FFF,     0x8000,     0xFFFF,     0x10000,    0x7FFFFFFF,
    0x80000000, 0x80000001, 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFF8000, 0x55555555, 0xAAAAAAAA, 0x007FFFFF,
    0x807FFFFF, 0x00800000, 0x80800000, 0x00800001, 0x00400000,                          // around the least normal
    0x3F800000, 0xBF800000, 0x3F800001, 0x3F7FFFFF, 0x3F000000, 0xBF000000, 0x3F000001,  // around 1 and 1/2
    0x3FC00000, 0x40200000, 0xC0200000, 0x40490FDB, 0x33800000, 0x33800001, 0x4B7FFFFF,
    0x4B000001,  // 1.5, 2.5, pi, 2^-24, 2^23
    0x4EFFFFFF, 0x4F000000, 0xCF000000, 0x4F7FFFFF, 0x4F800000, 0x5EFFFFFF, 0x5F000000, 0xDF000000,
    0x5F800000,  // 2^31 ... 2^64
    0x477FE000, 0x477FEFFF, 0x477FF000, 0xC77FF000, 0x33000000, 0x33000001, 0x38800000,
    0x387FE000,  // f16's ends
    0x3F808000, 0x3F818000, 0x3F808001, 0x3F801000, 0x3F803000, 0x3F801001, 0x7F7F8000,
    0x7F7F7FFF,  // ties of bf16, f16, tf32
    0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFC00001};

const Values kMore64 = {
    0x8000000000000000, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0x8000000000000001, 0x0000000100000000,
    0x00000000FFFFFFFF, 0xFFFFFFFF00000000, 0xFFFFFFFF80000000, 0xFFFFFFFF7FFFFFFF, 0xFFFFFFFFFFFF8000,
    0x0020000000000001, 0x0040000000000001, 0x000FFFFFFFFFFFFF, 0x800FFFFFFFFFFFFF, 0x0010000000000000,
    0x8010000000000000, 0x0010000000000001, 0x3FF0000000000000, 0xBFF0000000000000, 0x3FF0000000000001,
    0x3FEFFFFFFFFFFFFF, 0x3FE0000000000000, 0xBFE0000000000000, 0x3FF8000000000000, 0x4004000000000000,
    0xC004000000000000, 0x400921FB54442D18, 0x3CA0000000000000, 0x4330000000000001, 0x41DFFFFFFFC00000,
    0x41E0000000000000, 0xC1E0000000000000, 0xC1E0000000200000, 0x41EFFFFFFFE00000, 0x41F0000000000000,
    0x43DFFFFFFFFFFFFF, 0x43E0000000000000, 0xC3E0000000000000, 0x43EFFFFFFFFFFFFF, 0x43F0000000000000,
    0x3FF0000010000000, 0x3FF0000030000000, 0x3FF0000010000001, 0x36A0000000000000, 0x3690000000000000,
    0x3690000000000001, 0x380FFFFFE0000000, 0x380FFFFFF0000000, 0x3810000000000000, 0x47EFFFFFE0000000,
    0x47EFFFFFEFFFFFFF, 0x47EFFFFFF0000000, 0x47F0000000000000, 0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF,
    0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000, 0x7FF0000000000001, 0xFFF8000000000001};

const Values kSmall = {0, 1, 2, 3, 16, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 0xFFFF, 0x80000000};

Values with_small_ones(const Values& more) {
  Values values = more;
  for (const std::uint64_t small : kSmall) values.push_back(small);
  return values;
}

}  // namespace

const Values& edge_values(std::size_t bytes) {
  static const Values predicates = {0, 1};
  static const Values edges64 = with_small_ones(kMore64);
  return bytes == 0 ? predicates : bytes == 2 ? kEdges16 : bytes == 4 ? kEdges32 : edges64;
}

namespace elementwise {

std::uint64_t draw(std::mt19937_64& generator, std::size_t bytes) {
  const Values& edges = edge_values(bytes);
  const std::uint64_t mask = bytes == 0 ? 1 : bytes == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << bytes * 8) - 1;
  const std::uint64_t edge = edges[generator() % edges.size()];
  switch (generator() % 4) {
    case 0:
      return generator() & mask;
    case 1:
      return (edge ^ std::uint64_t{1} << generator() % 64) & mask;
    case 2:
      return (edge + generator() % 5 - 2) & mask;
    default:
      return edge;
  }
}

std::vector<Values> operand_rows(const std::vector<std::size_t>& bytes, std::uint64_t seed) {
  std::vector<Values> rows;
  if (bytes.size() == 1) {
    for (const std::uint64_t a : edge_values(bytes[0])) rows.push_back({a});
  } else if (bytes.size() == 2) {
    for (const std::uint64_t a : edge_values(bytes[0])) {
      for (const std::uint64_t b : edge_values(bytes[1])) rows.push_back({a, b});
    }
  }
  std::mt19937_64 generator(seed);
  const std::size_t wanted = rows.size() + (bytes.size() < 3 ? kRandomThreads : 3 * kRandomThreads);
  while (rows.size() < wanted) {
    Values& row = rows.emplace_back();
    for (const std::size_t width : bytes) row.push_back(draw(generator, width));
  }
  return rows;
}

std::string row_text(const Values& row) {
  std::ostringstream text;
  for (const std::uint64_t value : row) text << " 0x" << std::hex << value;
  return text.str();
}

}  // namespace elementwise
}  // namespace trireme::gpu
