// PTX ISA 9.0, 9.7.14.5.8 "Matrix fragments for mma.m16n8k16 with floating point type", 9.7.14.5.7 for m16n8k8, and
// 9.7.14.5.15 ldmatrix. Which register of which lane holds which element is written down here from the ISA's formulas;
// it is shared with nobody, because a layout that a kernel and its model misread alike would pass everywhere else.
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/gpu/execute/elementwise.h"
#include "tests/gpu/execute/narrow_reference.h"

namespace trireme::gpu {
namespace {

using U16 = std::uint16_t;
using U64 = std::uint64_t;
constexpr int kWarp = 32;
constexpr int kRows = 16;
constexpr int kColumns = 8;

// Element i of a lane's fragment, as (row, column): groupID = laneid >> 2, threadID_in_group = laneid % 4.
struct Place {
  int row;
  int column;
};
Place place_in_a(int depth, int lane, int i) {
  const int group = lane >> 2;
  const int thread = lane % 4;
  if (depth == 8) return {.row = i < 2 ? group : group + 8, .column = thread * 2 + (i & 1)};
  const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {.row = upper ? group : group + 8, .column = i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8};
}
Place place_in_b(int depth, int lane, int i) {
  const int row = (lane % 4) * 2 + (i & 1);
  return {.row = depth == 8 || i < 2 ? row : row + 8, .column = lane >> 2};
}
Place place_in_c(int lane, int i) {
  return {.row = i < 2 ? lane >> 2 : (lane >> 2) + 8, .column = (lane % 4) * 2 + (i & 1)};
}

struct Product {
  std::vector<double> a{};  // [16, depth]
  std::vector<double> b{};  // [depth, 8]
  std::vector<double> c{};  // [16, 8]
};

struct Variant {
  int depth;
  std::string type;
  const reference::NarrowFormat& format;
  std::string text() const {
    const std::string tail = ".row.col.f32." + type + "." + type + ".f32 ";
    return depth == 16 ? "mma.sync.aligned.m16n8k16" + tail +
                             "{$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
                       : "mma.sync.aligned.m16n8k8" + tail + "{$0, $1, $2, $3}, {$4, $5}, {$6}, {$7, $8, $9, $10};";
  }
};

U64 pair_of(const Variant& variant, double low, double high) {
  return U64{variant.format.rounded(low)} | U64{variant.format.rounded(high)} << 16;
}

// A warp for each product; the results as [16, 8] matrices.
std::vector<std::vector<float>> multiplied(const Variant& variant, const std::vector<Product>& products) {
  const int depth = variant.depth;
  std::vector<Thread> threads;
  for (const Product& product : products) {
    for (int lane = 0; lane < kWarp; ++lane) {
      Thread thread;
      const auto a = [&](int i) {
        const Place at = place_in_a(depth, lane, i);
        return product.a[static_cast<std::size_t>(at.row * depth + at.column)];
      };
      const auto b = [&](int i) {
        const Place at = place_in_b(depth, lane, i);
        return product.b[static_cast<std::size_t>(at.row * kColumns + at.column)];
      };
      for (int i = 0; i < depth / 2; i += 2) thread.operands.push_back(pair_of(variant, a(i), a(i + 1)));
      for (int i = 0; i < depth / 4; i += 2) thread.operands.push_back(pair_of(variant, b(i), b(i + 1)));
      for (int i = 0; i < 4; ++i) {
        const Place at = place_in_c(lane, i);
        thread.operands.push_back(
            to_bits(static_cast<float>(product.c[static_cast<std::size_t>(at.row * kColumns + at.column)])));
      }
      threads.push_back(std::move(thread));
    }
  }
  const OneInstruction instruction{.text = variant.text(),
                                   .results = "wwww",
                                   .operands = std::string(static_cast<std::size_t>(depth / 4 + depth / 8 + 4), 'w')};
  const Outcome outcome = run_one(instruction, threads, Guard::kNone);
  std::vector<std::vector<float>> results(products.size(), std::vector<float>(kRows * kColumns));
  for (std::size_t t = 0; t < threads.size(); ++t) {
    for (int i = 0; i < 4; ++i) {
      const Place at = place_in_c(static_cast<int>(t % kWarp), i);
      results[t / kWarp][static_cast<std::size_t>(at.row * kColumns + at.column)] =
          from_bits<float>(outcome.results[t][static_cast<std::size_t>(i)]);
    }
  }
  return results;
}

double exact(const Variant& variant, const Product& product, int row, int column) {
  double sum = product.c[static_cast<std::size_t>(row * kColumns + column)];
  for (int k = 0; k < variant.depth; ++k) {
    sum += product.a[static_cast<std::size_t>(row * variant.depth + k)] *
           product.b[static_cast<std::size_t>(k * kColumns + column)];
  }
  return sum;
}

void expect_exact(const Variant& variant, const std::vector<Product>& products) {
  const auto results = multiplied(variant, products);
  for (std::size_t p = 0; p < products.size(); ++p) {
    for (int row = 0; row < kRows; ++row) {
      for (int column = 0; column < kColumns; ++column) {
        ASSERT_EQ(results[p][static_cast<std::size_t>(row * kColumns + column)],
                  exact(variant, products[p], row, column))
            << variant.text() << " product " << p << " row " << row << " column " << column;
      }
    }
  }
}

const Variant kVariants[] = {{16, "f16", reference::kHalf},
                             {16, "bf16", reference::kBrain},
                             {8, "f16", reference::kHalf},
                             {8, "bf16", reference::kBrain}};

// Every element of A meets every element of B of its own k, alone; the accumulators tell where they lie.
TEST(MatrixModel, PutsEveryElementWhereTheIsaSays) {
  for (const Variant& variant : kVariants) {
    const auto depth = static_cast<std::size_t>(variant.depth);
    std::vector<Product> products;
    for (std::size_t row = 0; row < kRows; ++row) {
      for (std::size_t k = 0; k < depth; ++k) {
        for (std::size_t column = 0; column < kColumns; ++column) {
          Product product{.a = std::vector<double>(kRows * depth),
                          .b = std::vector<double>(depth * kColumns),
                          .c = std::vector<double>(kRows * kColumns)};
          product.a[row * depth + k] = 1.5;
          product.b[k * kColumns + column] = -2;
          std::iota(product.c.begin(), product.c.end(), 100);
          products.push_back(std::move(product));
        }
      }
    }
    ASSERT_NO_FATAL_FAILURE(expect_exact(variant, products));
  }
}

// One-hot products cannot tell k from another k that both operands permute alike; dense integers, whose sums are exact,
// can tell nothing else either, but show that all k are added.
TEST(MatrixModel, AddsAllProducts) {
  for (const Variant& variant : kVariants) {
    const auto depth = static_cast<std::size_t>(variant.depth);
    std::mt19937_64 generator(depth);
    std::vector<Product> products(16);
    const auto integer = [&](int most) {
      return static_cast<double>(static_cast<int>(generator() % static_cast<unsigned>(2 * most + 1)) - most);
    };
    for (Product& product : products) {
      for (std::size_t i = 0; i < kRows * depth; ++i) product.a.push_back(integer(15));
      for (std::size_t i = 0; i < depth * kColumns; ++i) product.b.push_back(integer(15));
      for (std::size_t i = 0; i < kRows * kColumns; ++i) product.c.push_back(integer(1000));
    }
    ASSERT_NO_FATAL_FAILURE(expect_exact(variant, products));
  }
}

// 9.7.14.5.14: products at full precision, accumulated with at least single precision, in any order: (depth + 1)
// roundings, truncation allowed, of sums that never exceed the sum of magnitudes.
TEST(MatrixModel, StaysWithinTheBoundOfAnyOrder) {
  for (const Variant& variant : kVariants) {
    const auto depth = static_cast<std::size_t>(variant.depth);
    std::mt19937_64 generator(depth + 1);
    std::normal_distribution<double> normal;
    const auto narrow = [&] { return variant.format.value(variant.format.rounded(normal(generator))); };
    std::vector<Product> products(8);
    for (Product& product : products) {
      for (std::size_t i = 0; i < kRows * depth; ++i) product.a.push_back(narrow());
      for (std::size_t i = 0; i < depth * kColumns; ++i) product.b.push_back(narrow());
      for (std::size_t i = 0; i < kRows * kColumns; ++i) product.c.push_back(static_cast<float>(normal(generator)));
    }
    const auto results = multiplied(variant, products);
    for (std::size_t p = 0; p < products.size(); ++p) {
      Product magnitudes = products[p];
      for (auto* values : {&magnitudes.a, &magnitudes.b, &magnitudes.c}) {
        for (double& x : *values) x = std::fabs(x);
      }
      for (int row = 0; row < kRows; ++row) {
        for (int column = 0; column < kColumns; ++column) {
          const double bound = (variant.depth + 1) * std::exp2(-23) * exact(variant, magnitudes, row, column);
          ASSERT_NEAR(results[p][static_cast<std::size_t>(row * kColumns + column)],
                      exact(variant, products[p], row, column), bound);
        }
      }
    }
  }
}

TEST(MatrixModel, PassesInfinitiesAndNanOn) {
  for (const Variant& variant : kVariants) {
    const auto depth = static_cast<std::size_t>(variant.depth);
    Product product{.a = std::vector<double>(kRows * depth),
                    .b = std::vector<double>(depth * kColumns, 1),
                    .c = std::vector<double>(kRows * kColumns)};
    product.a[0] = INFINITY;      // row 0
    product.a[depth] = INFINITY;  // row 1: infinity less infinity
    product.a[depth + 1] = -INFINITY;
    product.a[2 * depth] = NAN;  // row 2
    const auto results = multiplied(variant, {product});
    EXPECT_EQ(results[0][0], INFINITY);
    EXPECT_TRUE(std::isnan(results[0][kColumns]));
    EXPECT_TRUE(std::isnan(results[0][2 * kColumns]));
    EXPECT_EQ(results[0][3 * kColumns], 0);
  }
}

// Rows of 16 bytes in shared memory, at addresses that lanes 8 m to 8 m + 7 give for matrix m, in any order.
TEST(MatrixModel, LoadsMatricesRowByRowAndTransposed) {
  std::mt19937_64 generator(3);
  std::vector<std::byte> buffer(1024);
  for (auto& byte : buffer) byte = static_cast<std::byte>(generator());
  const auto element = [&](U64 row_address, int column) {
    U16 value = 0;
    std::memcpy(&value, buffer.data() + row_address + 2 * static_cast<std::size_t>(column), 2);
    return value;
  };
  for (const int matrices : {1, 2, 4}) {
    for (const bool transposed : {false, true}) {
      std::vector<U64> rows(64);
      std::iota(rows.begin(), rows.end(), 0);
      std::shuffle(rows.begin(), rows.end(), generator);
      std::vector<Thread> threads;
      for (std::size_t lane = 0; lane < kWarp; ++lane) threads.push_back({.operands = {rows[lane] * 16}});
      std::string list = "$0";
      for (int m = 1; m < matrices; ++m) list.append(", $").append(std::to_string(m));
      const std::string results(static_cast<std::size_t>(matrices), 'w');
      const OneInstruction instruction{
          .text = "ldmatrix.sync.aligned.m8n8.x" + std::to_string(matrices) + (transposed ? ".trans" : "") +
                  ".shared.b16 {" + list + "}, [%row];",
          .results = results,
          .operands = "w",
          .before =
              "mov.u32 %t, %tid.x;\nmul.wide.u32 %o, %t, 32;\nadd.s64 %from, %buffer, %o;\nmov.u64 %area, "
              "area;\nadd.s64 %to, %area, %o;\n"
              "ld.global.v2.b64 {%x, %y}, [%from];\nst.shared.v2.b64 [%to], {%x, %y};\n"
              "ld.global.v2.b64 {%x, %y}, [%from+16];\nst.shared.v2.b64 [%to+16], {%x, %y};\nbar.sync 0;\n"
              "mov.u32 %row, area;\nadd.u32 %row, %row, $" +
              std::to_string(matrices) + ";\n",
          .variables = ".shared .align 16 .b8 area[1024];\n",
          .declared = ".reg .b32 %t, %row;\n.reg .b64 %o, %from, %to, %area, %x, %y;\n"};
      const Outcome outcome = run_one(instruction, threads, Guard::kNone, buffer, {.block = 32});
      for (int lane = 0; lane < kWarp; ++lane) {
        for (int m = 0; m < matrices; ++m) {
          const auto address = [&](int row) { return threads[static_cast<std::size_t>(8 * m + row)].operands[0]; };
          const int pair = 2 * (lane % 4);
          const U64 low = transposed ? element(address(pair), lane / 4) : element(address(lane / 4), pair);
          const U64 high = transposed ? element(address(pair + 1), lane / 4) : element(address(lane / 4), pair + 1);
          ASSERT_EQ(outcome.results[static_cast<std::size_t>(lane)][static_cast<std::size_t>(m)], low | high << 16)
              << instruction.text << " in lane " << lane;
        }
      }
    }
  }
}

}  // namespace
}  // namespace trireme::gpu
