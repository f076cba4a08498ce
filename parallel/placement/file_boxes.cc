#include "parallel/placement/file_boxes.h"

#include <algorithm>
#include <map>

namespace trireme {
namespace {

// Dims [first, last) of a shape; of none, one dim of size 1.
Shape slice(const Shape& shape, int first, int last, std::int64_t neutral) {
  Shape part;
  for (int dim = first; dim < last; ++dim) part.append(shape[dim]);
  if (part.dims() == 0) part.append(neutral);
  return part;
}

std::vector<BoxRun> runs_of(const ParamSpec& spec, const Box& box, int first, int last) {
  std::vector<BoxRun> runs;
  for_each_run(slice(spec.shape, first, last, 1), {slice(box.begin, first, last, 0), slice(box.size, first, last, 1)},
               [&](BoxRun run) { runs.push_back(run); });
  return runs;
}

// Where the whole of a file box lies in theirs.
Box target_of(const FileBox& file, std::int64_t columns) {
  const Shape size = file.transposed ? Shape{columns, file.rows} : Shape{file.rows, columns};
  return {{file.at_row, file.at_column}, size};
}

struct Claim {
  std::string owner;  // the parameter
  Shape shape;        // of the whole tensor, as the owner declares it
  Box box;
};

void check_tensor(const std::string& tensor, const std::vector<Claim>& claims, std::vector<std::string>& problems) {
  const Shape& shape = claims.front().shape;
  std::int64_t covered = 0;
  bool sound = true;
  for (std::size_t i = 0; i < claims.size(); ++i) {
    const Claim& claim = claims[i];
    if (!(claim.shape == shape)) {
      problems.push_back(tensor + ": " + claims.front().owner + " says its shape is " + to_string(shape) + ", " +
                         claim.owner + " says " + to_string(claim.shape));
      return;
    }
    if (!contains(whole(shape), claim.box)) {
      problems.push_back(tensor + ": " + claim.owner + " claims " + to_string(claim.box) + " of a tensor " +
                         to_string(shape));
      sound = false;
    }
    for (std::size_t j = 0; j < i; ++j) {
      const Box both = intersect(claim.box, claims[j].box);
      if (both.empty()) continue;
      problems.push_back(tensor + ": " + claims[j].owner + " and " + claim.owner + " both claim " + to_string(both));
      sound = false;
    }
    covered += claim.box.elements();
  }
  if (sound && covered != shape.elements())
    problems.push_back(tensor + ": " + std::to_string(shape.elements() - covered) + " of its " +
                       std::to_string(shape.elements()) + " elements belong to no parameter");
}

// Each row of ours in exactly one file box.
void check_rows(const ParamSpec& spec, std::vector<std::string>& problems) {
  const std::int64_t rows = spec.matrix()[0];
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  for (const FileBox& file : spec.files) ranges.emplace_back(file.row, file.rows);
  std::sort(ranges.begin(), ranges.end());
  std::int64_t next = 0;
  for (const auto& [row, count] : ranges) {
    if (row != next || count <= 0 || count > rows - row) {
      problems.push_back(spec.name + ": a file box holds " + std::to_string(count) + " rows from " +
                         std::to_string(row) + " where row " + std::to_string(next) + " of " + std::to_string(rows) +
                         " is next");
      return;
    }
    next = row + count;
  }
  if (next != rows)
    problems.push_back(spec.name + ": rows from " + std::to_string(next) + " of " + std::to_string(rows) +
                       " lie in no file");
}

}  // namespace

Shape file_matrix(const FileBox& file) {
  const Shape& shape = file.tensor_shape;
  CHECK(shape.dims() == 1 || shape.dims() == 2, file.tensor, " of shape ", to_string(shape), " is no matrix");
  return shape.dims() == 2 ? shape : Shape{1, shape[0]};
}

std::vector<std::string> file_coverage_problems(std::span<const ParamSpec> specs) {
  std::vector<std::string> problems;
  std::map<std::string, std::vector<Claim>> claims;
  for (const ParamSpec& spec : specs) {
    if (!spec.tied_to.empty()) {
      if (!spec.files.empty()) problems.push_back(spec.name + ": is tied to " + spec.tied_to + " but claims files");
      continue;
    }
    const std::int64_t columns = spec.matrix()[1];
    check_rows(spec, problems);
    for (const FileBox& file : spec.files)
      claims[file.tensor].push_back({spec.name, file_matrix(file), target_of(file, columns)});
  }
  for (const auto& [tensor, claimed] : claims) check_tensor(tensor, claimed, problems);
  return problems;
}

std::vector<FilePiece> pieces_in(const ParamSpec& spec, const FileBox& file, const Box& box) {
  CHECK(contains(whole(spec.shape), box), spec.name, " has no box ", to_string(box));
  std::vector<FilePiece> pieces;
  if (box.empty()) return pieces;
  const std::vector<BoxRun> column_runs = runs_of(spec, box, spec.row_dims, spec.shape.dims());
  for (const BoxRun& rows : runs_of(spec, box, 0, spec.row_dims)) {
    const std::int64_t begin = std::max(rows.global, file.row);
    const std::int64_t end = std::min(rows.global + rows.count, file.row + file.rows);
    if (begin >= end) continue;
    for (const BoxRun& columns : column_runs) {
      const std::int64_t down = begin - file.row;
      pieces.push_back({.row = rows.local + (begin - rows.global),
                        .column = columns.local,
                        .rows = end - begin,
                        .columns = columns.count,
                        .at_row = file.at_row + (file.transposed ? columns.global : down),
                        .at_column = file.at_column + (file.transposed ? down : columns.global),
                        .transposed = file.transposed});
    }
  }
  return pieces;
}

}  // namespace trireme
