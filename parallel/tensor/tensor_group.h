// Ranks of a tensor parallel group each have a part of every large weight. Between the layers nothing is a sum over
// weights, so there they share out the rows instead of all holding all of them (sequence parallelism; V. Korthikanti et
// al., "Reducing activation recomputation in large transformer models", arXiv:2205.05198): a layer gathers rows where
// its weights are cut by outputs, and sums over ranks and scatters rows where they are cut by inputs. Each is the
// other's backward pass.
//
// Of R rows every rank holds a share of ceil(R / size), one after the other; the last ranks' missing rows are padding
// at the end, which `gather` leaves behind and `sum` fills with zeros, so that it reaches no weight, gradient or loss.
// Partial sums are f32, added in the communicator's tree, and rounded once, after the sum. One rank alone holds all
// rows; then nothing is copied, and a partial sum is the sum, in its own dtype.
//
// All on the compute stream. A group is copied freely; the communicator outlives it.
#pragma once

#include <cstdint>

#include "cuda/core/context.h"
#include "cuda/ops/kernels.h"
#include "parallel/comm/communicator.h"

namespace trireme {

// Rows [begin, end) of a micro-batch.
struct RowRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t size() const { return end - begin; }
  bool operator==(const RowRange&) const = default;
};
RowRange intersect(RowRange a, RowRange b);  // of size 0 where they do not meet

// All rows of a tensor whose rows are shared out; of one rank, a view of what it gave.
class GatheredRows {
 public:
  const Tensor& operator*() const { return rows_; }
  const Tensor* operator->() const { return &rows_; }
  operator const Tensor&() const { return rows_; }

 private:
  friend class TensorGroup;
  ArenaTensor owner_;  // [size x share, ...]
  Tensor rows_;        // [R, ...]
};

// This rank's part of a sum over ranks, for all rows; to be written before it is summed.
class PartialRows {
 public:
  const Tensor& operator*() const { return rows_; }
  const Tensor* operator->() const { return &rows_; }
  operator const Tensor&() const { return rows_; }

 private:
  friend class TensorGroup;
  ArenaTensor owner_;  // [size x share, C] f32
  Tensor rows_;        // [R, C]
};

class TensorGroup {
 public:
  TensorGroup() = default;  // one rank
  explicit TensorGroup(Communicator& tp) : tp_(tp.size() > 1 ? &tp : nullptr) {}

  int size() const { return tp_ == nullptr ? 1 : tp_->size(); }
  int rank() const { return tp_ == nullptr ? 0 : tp_->rank(); }
  bool alone() const { return tp_ == nullptr; }

  std::int64_t share(std::int64_t rows) const { return (rows + size() - 1) / size(); }
  // Those of all rows that this rank holds; fewer than a share, or none, where the rows run out.
  RowRange held(std::int64_t rows) const;

  // own [share, ...] -> [rows, ...], any dtype.
  GatheredRows gather(Context& context, Tensor own, std::int64_t rows, CallFor call) const;

  // Uninitialised, for `sum`: f32, or of one rank `dtype`.
  PartialRows partial(Context& context, std::int64_t rows, std::int64_t columns, DType dtype) const;
  // [share, C] of `dtype`: the sum over ranks of the rows held here + bias [C] + residual [share, C], both optional. Of
  // one rank, what was written; who wrote it has added those.
  ArenaTensor sum(Context& context, PartialRows partial, DType dtype, Tensor bias, Tensor residual, CallFor call) const;

  // own [...] -> [size, ...]: every rank's. Of more than one rank.
  ArenaTensor gather_parts(Context& context, Tensor own, CallFor call) const;

 private:
  Communicator* tp_ = nullptr;
};

}  // namespace trireme
