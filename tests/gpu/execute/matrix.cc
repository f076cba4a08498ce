// mma and ldmatrix: PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions". Fragments lie as the ISA's figures
// say, with groupID = lane / 4 and threadID_in_group = lane % 4.
//
// The ISA leaves the order and precision of the sums inside an mma open. Here the products, which are exact, are added
// to the accumulator in fp64 and the sum is rounded once to f32: closer than tensor cores, whose adders cut digits.
// Parity tolerances must therefore come from the bound on any order, not from what is seen here.
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "tests/gpu/execute/floats.h"
#include "tests/gpu/execute/lane_memory.h"
#include "tests/gpu/execute/launch.h"
#include "tests/gpu/execute/models.h"

namespace trireme::gpu {
namespace {

using U32 = std::uint32_t;

enum class Element : std::uint8_t { kHalf, kBrain };

template <Element kElement>
float element(U32 pair, int which) {
  const auto bits = static_cast<std::uint16_t>(which == 0 ? pair : pair >> 16);
  return kElement == Element::kHalf ? from_half(bits) : from_brain(bits);
}

// D[16][8] = A[16][kDepth] B[kDepth][8] + C[16][8]. Registers of two elements: of A (row, columns c and c + 1), in the
// order rows g, g + 8, then the same for columns + 8; of B (rows r and r + 1, column g). C and D: (g, 2t), (g, 2t + 1)
// and the same for row g + 8.
template <Element kElement, int kDepth>
void multiply(Warp& warp, const Instruction& instruction, Mask) {
  constexpr int kA = kDepth / 4;
  constexpr int kB = kDepth / 8;
  std::array<std::array<double, kDepth>, 16> a{};
  std::array<std::array<double, 8>, kDepth> b{};
  for (int lane = 0; lane < kLanes; ++lane) {
    const int group = lane / 4;
    const int thread = lane % 4;
    for (int i = 0; i < kA; ++i) {
      const U32 pair = warp.lanes<U32>(instruction.slots[4 + i])[lane];
      for (int half = 0; half < 2; ++half) {
        a[group + 8 * (i % 2)][2 * thread + half + 8 * (i / 2)] = element<kElement>(pair, half);
      }
    }
    for (int i = 0; i < kB; ++i) {
      const U32 pair = warp.lanes<U32>(instruction.slots[4 + kA + i])[lane];
      for (int half = 0; half < 2; ++half) b[2 * thread + half + 8 * i][group] = element<kElement>(pair, half);
    }
  }
  const auto place = [&](int row, int column) { return std::pair(row / 8 * 2 + column % 2, row % 8 * 4 + column / 2); };
  for (int row = 0; row < 16; ++row) {
    std::array<double, 8> sums{};
    for (int column = 0; column < 8; ++column) {
      const auto [i, lane] = place(row, column);
      sums[column] = warp.lanes<float>(instruction.slots[4 + kA + kB + i])[lane];
    }
    for (int k = 0; k < kDepth; ++k) {
      for (int column = 0; column < 8; ++column) sums[column] += a[row][k] * b[k][column];
    }
    for (int column = 0; column < 8; ++column) {
      const auto [i, lane] = place(row, column);
      warp.lanes<float>(instruction.slots[i])[lane] = canonical(static_cast<float>(sums[column]));
    }
  }
  ++warp.counters().mma;
}

// Lane 8 m + r gives the address of row r of matrix m: 8 elements of 16 bits. Lane l gets, of each matrix, elements
// 2 (l % 4) and the next of row l / 4; transposed, of column l / 4.
template <bool kTransposed>
void load_matrices(Warp& warp, const Instruction& instruction, Mask) {
  constexpr std::size_t kRow = 16;
  const int matrices = instruction.count;
  const Mask rows = matrices == 4 ? kAllLanes : (Mask{1} << 8 * matrices) - 1;
  const Addresses addresses = addresses_of(warp, instruction, static_cast<std::size_t>(matrices), 0, kAllLanes);
  std::array<std::array<std::uint16_t, 8>, kLanes> row{};
  for_each_lane(rows, [&](int lane) {
    std::memcpy(row[lane].data(), reach(warp, instruction, lane, Space::kShared, Use::kLoad, addresses[lane], kRow),
                kRow);
  });
  count_access(warp, Space::kShared, Use::kLoad, addresses, kRow, rows);
  for (int matrix = 0; matrix < matrices; ++matrix) {
    U32* out = warp.lanes<U32>(instruction.slots[matrix]);
    for (int lane = 0; lane < kLanes; ++lane) {
      const int first = 2 * (lane % 4);
      const int other = lane / 4;
      const auto* of = &row[static_cast<std::size_t>(8 * matrix)];
      const U32 low = kTransposed ? of[first][other] : of[other][first];
      const U32 high = kTransposed ? of[first + 1][other] : of[other][first + 1];
      out[lane] = low | high << 16;
    }
  }
}

template <Element kElement>
void add_products(ModelTable& table, const std::string& type) {
  const std::string tail = ".row.col.f32." + type + "." + type + ".f32";
  table.add("mma.sync.aligned.m16n8k16" + tail, {multiply<kElement, 16>, "vvvv", Flow::kTogether});
  table.add("mma.sync.aligned.m16n8k8" + tail, {multiply<kElement, 8>, "vvvv", Flow::kTogether});
}

}  // namespace

void add_matrix_models(ModelTable& table) {
  add_products<Element::kHalf>(table, "f16");
  add_products<Element::kBrain>(table, "bf16");
  for (const char* count : {"x1", "x2", "x4"}) {
    const std::string name = std::string("ldmatrix.sync.aligned.m8n8.") + count;
    for (const char* space : {".shared.b16"}) {
      table.add(name + space, {load_matrices<false>, "va", Flow::kTogether});
      table.add(name + ".trans" + space, {load_matrices<true>, "va", Flow::kTogether});
    }
  }
}

}  // namespace trireme::gpu
