// oneDNN takes longer to decide how to multiply than to multiply small matrices, and its results depend on the number
// of threads. A GemmPlan is one decided multiplication, kept by the thread that asked for it; LibraryThreads says how
// many threads the library sees while it decides and while it runs.
//
// c = a b (+ bias) (+ what c held | + residual), a [m, k], b [k, n], c [m, n] with rows contiguous; sums are fp32.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <omp.h>

#include "cuda/core/tensor.h"

namespace trireme::host {

class LibraryThreads {
 public:
  explicit LibraryThreads(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~LibraryThreads() { omp_set_num_threads(before_); }
  LibraryThreads(const LibraryThreads&) = delete;
  LibraryThreads& operator=(const LibraryThreads&) = delete;

 private:
  int before_;
};

enum class Joined { kNothing, kWhatCHeld, kResidual };

struct Gemm {
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t a_row = 0, a_column = 1;  // elements from one row, or column, to the next
  std::int64_t b_row = 0, b_column = 1;
  std::int64_t c_row = 0;        // the residual's too
  DType operands = DType::kF32;  // of a, b and bias: fp32 or bf16
  DType result = DType::kF32;    // of c and the residual
  bool biased = false;           // bias [n]
  Joined joined = Joined::kNothing;
  bool packed = false;  // b comes as `pack` wrote it
  int threads = 1;

  auto operator<=>(const Gemm&) const = default;
};

class GemmPlan {
 public:
  // Decides, or finds what this thread decided before. Runs under LibraryThreads(gemm.threads). Valid until the next
  // `of`.
  static const GemmPlan& of(const Gemm& gemm);

  ~GemmPlan();
  std::size_t packed_bytes() const;
  void pack(void* packed, const void* b) const;
  // bias and residual: null if there is none.
  void run(void* c, const void* a, const void* b, const void* bias, const void* residual) const;

 private:
  struct Parts;
  explicit GemmPlan(const Gemm& gemm);
  std::unique_ptr<Parts> parts_;
};

// Whether oneDNN multiplies this type on this machine. It has no bf16 without AVX-512, and no fp16 on a CPU.
bool library_multiplies(DType dtype);

}  // namespace trireme::host
