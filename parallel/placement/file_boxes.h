// Checkpoints are other people's files: what we hold fused or transposed lies there under other names, and a rank holds
// only its box. Here a box of ours becomes rectangles of theirs, and a list of ParamSpecs is proved to fill their
// tensors: every element once, no gap, no overlap.
#pragma once

#include <string>
#include <vector>

#include "parallel/placement/param_spec.h"

namespace trireme {

// What a list of declarations gets wrong, in words; empty if each Hugging Face tensor is covered exactly once and each
// element of ours, but of tied parameters, lies in exactly one file box. `specs` must be the whole model's.
std::vector<std::string> file_coverage_problems(std::span<const ParamSpec> specs);

// One rectangle that both sides hold. Element (r, c) of it is (row + r, column + c) of the local box seen as a matrix,
// and (at_row + r, at_column + c) of their matrix, or (at_row + c, at_column + r) if transposed.
struct FilePiece {
  std::int64_t row = 0;  // of the local box: [its row dims' elements, its column dims' elements]
  std::int64_t column = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t at_row = 0;
  std::int64_t at_column = 0;
  bool transposed = false;
  bool operator==(const FilePiece&) const = default;
};

// The part of `file`, one of spec.files, that lies in `box` of the parameter, as few rectangles as the box's shape
// allows, in the order of our rows. Column dims that are cut inside give one rectangle for each run of columns.
std::vector<FilePiece> pieces_in(const ParamSpec& spec, const FileBox& file, const Box& box);

// Their tensor as a matrix: two dims as they are, one as [1, n].
Shape file_matrix(const FileBox& file);

}  // namespace trireme
