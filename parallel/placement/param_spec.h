// Tensor parallelism, ZeRO, checkpoints and norms all ask the same question: which rank holds which part of which
// tensor, and who of several holders speaks for it? ParamSpec is the one answer. It declares a parameter at its true
// rank (Q as [heads, head_dim, hidden]), which dims which axes cut, and which boxes of which Hugging Face tensors it is
// in files. All else follows by intersecting boxes; there is no resharding code.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda/core/tensor.h"
#include "parallel/mesh/axis.h"
#include "parallel/placement/box.h"

namespace trireme {

// Axis `axis` cuts dim `dim` into equal or, where it does not divide, first-larger parts: one for each place on the
// axis, but no more than `most_parts` if that is given. Neighbouring places, equally many, then hold the same part:
// heads of K and V, where they are fewer than the ranks of tensor parallelism.
struct Cut {
  int dim = 0;
  Axis axis = Axis::kTp;
  std::int64_t most_parts = 0;  // 0: any
};

// A rectangle of the parameter as it lies in a Hugging Face tensor. Both sides are seen as matrices: ours by
// ParamSpec::matrix(), theirs by its own dims, [1, n] if it has one.
struct FileBox {
  std::string tensor;    // "model.layers.0.self_attn.k_proj.weight"
  Shape tensor_shape;    // the whole of theirs
  std::int64_t row = 0;  // of ours: rows [row, row + rows), all columns
  std::int64_t rows = 0;
  std::int64_t at_row = 0;  // where element (row, 0) lies in theirs
  std::int64_t at_column = 0;
  bool transposed = false;  // theirs holds our rows as columns (GPT-2's Conv1D)
};

struct Init {
  enum class Kind { kNormal, kZeros, kOnes } kind = Kind::kZeros;
  float std = 0;
};

struct ParamSpec {
  std::string name;  // ours: "layers.3.attention.kv.weight"; seeds the initial values
  Shape shape;       // global
  int row_dims = 1;  // of the matrix that it is: this many leading dims are its rows ([heads, head_dim, hidden]: 2)
  DType dtype = DType::kF32;
  std::vector<Cut> cuts{};
  Init init{};
  bool decayed = false;   // weight decay applies
  std::string tied_to{};  // not empty: shares the values of the parameter of that name, which owns norms and files
  // Parameters that follow each other under one name here are used together: ZeRO gathers and frees them at once.
  std::string unit{};
  std::vector<FileBox> files{};

  Shape matrix() const;  // [rows, columns]; a vector (row_dims = 0) is [1, n]
};

// The box of `spec` that the rank at `places` holds. Cuts apply in turn, a later one to what the earlier left, so that
// two may cut one dim (tensor parallelism, then ZeRO).
Box local_box(const ParamSpec& spec, const AxisPlaces& places);

// How many places on `axis`, neighbours of the one at `places`, hold the same box of `spec`, and which of them that one
// is. {parts of the axis, its index} where the axis does not cut `spec`; {1, 0} where it cuts it fully.
AxisPlace replicas(const ParamSpec& spec, Axis axis, const AxisPlaces& places);

// Of the ranks that hold a box because of tensor parallelism, and of parameters that share values, one speaks for it in
// norms and files: the first, of the parameter that is not tied.
bool is_counted(const ParamSpec& spec, const AxisPlaces& places);

}  // namespace trireme
