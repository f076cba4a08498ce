// Every back end must compute what cuda/ops/kernels.h says, on sizes that fit no vector and no tile. A case draws its
// operands from a Trial, calls one op, and has the outputs compared with the oracle's (tests/cuda/oracle). It does not
// know which back end runs, and needs no test framework, so that it also runs where there is nothing but a compiler and
// a GPU.
//
// Outputs start as NaN, so that an element that nobody wrote shows, and behind them lie bytes that nobody may write: a
// device's allocation may be longer than what was asked for, and then no other check sees an end that was missed (reads
// of bytes that nobody wrote are seen, where a stand-in or a sanitizer looks). Tolerances are c 2^-24 sum|terms| for
// the arithmetic, with c derived beside the case, plus one rounding to the output's dtype (u = 2^-24, 2^-8, 2^-11 for
// fp32, bf16, fp16).
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cuda/ops/kernels.h"
#include "tests/cuda/oracle/result.h"

namespace trireme::parity {

// The same numbers twice: for the oracle, and on the device for the op.
struct Operand {
  Tensor tensor;
  oracle::Values values;

  operator const Tensor&() const { return tensor; }
};

// How close an output came: error divided by tolerance, at its worst element.
struct Comparison {
  std::string op;
  std::string what;  // output and circumstances: "dx, bf16, R=3 C=33"
  double worst = 0;  // above 1: wrong
  std::string detail;
};
using Report = std::vector<Comparison>;

bool all_agree(const Report& report);
// The comparisons that failed; all of them with `everything`.
std::string to_string(const Report& report, bool everything = false);

// Owns the device memory of its operands until it goes or `forget` is called.
class Trial {
 public:
  Trial(Device& device, const Kernels& kernels, std::string op);
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  const Kernels& ops;
  Stream stream;
  const bool on_host;  // held to its own, tighter bound where the contract leaves a back end a choice

  // --- operands. Values are representable in the dtype.
  Operand normal(const Shape& shape, DType dtype, double deviation = 1, double mean = 0);
  Operand integers(const Shape& shape, DType dtype, std::int64_t least, std::int64_t most);
  Operand given(const Shape& shape, DType dtype, const oracle::Values& values);
  Operand poisoned(const Shape& shape, DType dtype);  // NaN; integers: 0xA5...
  Operand same_as(const Operand& other) { return given(other.tensor.shape, other.tensor.dtype, other.values); }
  // RowIds of [R]: samples beyond 2^32, places within the sample that start anywhere.
  RowIds row_ids(std::int64_t rows, oracle::Values& sample, oracle::Values& offset);
  double uniform(double from, double to) { return std::uniform_real_distribution<double>(from, to)(random_); }

  // --- comparisons. `describe` says what the following ones are about; `forget` frees all operands, and compares what
  // lies behind outputs.
  void describe(std::string circumstances) { circumstances_ = std::move(circumstances); }
  oracle::Values read(const Tensor& tensor);
  void expect(const char* output, const Tensor& got, const oracle::Result& want, double c);
  // Where a back end may round what the sum is made of, too: `rounding` bounds what that does to each element.
  void expect(const char* output, const Tensor& got, const oracle::Result& want, double c,
              const oracle::Values& rounding);
  void expect_exactly(const char* output, const Tensor& got, const oracle::Values& want);
  // Bit for bit what another call left.
  void expect_same(const char* output, const Tensor& got, const Tensor& other);
  void forget();

  Report report;

 private:
  Operand place(const Shape& shape, DType dtype, oracle::Values values, std::size_t bytes_behind = 0);
  void compare_bytes_behind();
  void compare(const char* output, const Tensor& got, const oracle::Values& want, const oracle::Values& tolerance);

  Device& device_;
  std::string op_;
  std::string circumstances_;
  std::mt19937_64 random_;
  std::vector<std::byte*> blocks_;
  struct Behind {
    std::byte* at;
    std::string output;
  };
  std::vector<Behind> behind_;
};

inline constexpr DType kActivationTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
const oracle::Format& format_of(DType dtype);
double unit_roundoff(DType dtype);

}  // namespace trireme::parity
