#include "trainer/checkpoint/file_copy.h"

#include <algorithm>
#include <cstring>

#include "monitoring/check.h"
#include "parallel/placement/file_boxes.h"

namespace trireme {
namespace {

// A rectangle of a row-major matrix.
template <class T>
struct Rectangle {
  T* first;
  std::int64_t stride;  // elements from a row to the next
};

void copy(Rectangle<const float> from, Rectangle<float> to, std::int64_t rows, std::int64_t columns) {
  if (from.stride == columns && to.stride == columns) {
    columns *= rows;
    rows = 1;
  }
  for (std::int64_t r = 0; r < rows; ++r)
    std::memcpy(to.first + r * to.stride, from.first + r * from.stride,
                static_cast<std::size_t>(columns) * sizeof(float));
}

// to[c][r] = from[r][c], in tiles whose rows and columns stay in the first cache.
void transpose(Rectangle<const float> from, Rectangle<float> to, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kTile = 32;
  for (std::int64_t row = 0; row < rows; row += kTile)
    for (std::int64_t column = 0; column < columns; column += kTile)
      for (std::int64_t c = column; c < std::min(column + kTile, columns); ++c)
        for (std::int64_t r = row; r < std::min(row + kTile, rows); ++r)
          to.first[c * to.stride + r] = from.first[r * from.stride + c];
}

// visit(piece, where it begins in ours, our stride, where it begins in theirs, their stride)
template <class Visit>
std::int64_t for_each_piece(const ParamSpec& spec, const Box& box, const std::string& tensor, std::size_t our_size,
                            std::size_t their_size, Visit visit) {
  CHECK(static_cast<std::int64_t>(our_size) == box.elements(), spec.name, ": ", our_size, " values for ",
        to_string(box));
  if (box.empty()) return 0;
  std::int64_t our_columns = 1;
  for (int dim = spec.row_dims; dim < box.dims(); ++dim) our_columns *= box.size[dim];
  std::int64_t copied = 0;
  for (const FileBox& file : spec.files) {
    if (file.tensor != tensor) continue;
    CHECK(static_cast<std::int64_t>(their_size) == file.tensor_shape.elements(), tensor, ": ", their_size, " values");
    const std::int64_t their_columns = file_matrix(file)[1];
    for (const FilePiece& piece : pieces_in(spec, file, box)) {
      visit(piece, piece.row * our_columns + piece.column, our_columns, piece.at_row * their_columns + piece.at_column,
            their_columns);
      copied += piece.rows * piece.columns;
    }
  }
  return copied;
}

}  // namespace

std::vector<const FileBox*> file_tensors(const ParamSpec& spec) {
  std::vector<const FileBox*> tensors;
  for (const FileBox& file : spec.files)
    if (std::none_of(tensors.begin(), tensors.end(), [&](const FileBox* one) { return one->tensor == file.tensor; }))
      tensors.push_back(&file);
  return tensors;
}

bool is_same_tensor(const ParamSpec& spec, const FileBox& tensor) {
  const Shape ours = spec.matrix();
  return !tensor.transposed && tensor.row == 0 && tensor.rows == ours[0] && tensor.at_row == 0 &&
         tensor.at_column == 0 && file_matrix(tensor) == ours;
}

std::int64_t copy_to_file(const ParamSpec& spec, const Box& box, const std::string& tensor, std::span<const float> ours,
                          std::span<float> theirs) {
  return for_each_piece(spec, box, tensor, ours.size(), theirs.size(),
                        [&](const FilePiece& piece, std::int64_t our_first, std::int64_t our_stride,
                            std::int64_t their_first, std::int64_t their_stride) {
                          const Rectangle<const float> from{ours.data() + our_first, our_stride};
                          const Rectangle<float> to{theirs.data() + their_first, their_stride};
                          if (piece.transposed)
                            transpose(from, to, piece.rows, piece.columns);
                          else
                            copy(from, to, piece.rows, piece.columns);
                        });
}

std::int64_t copy_from_file(const ParamSpec& spec, const Box& box, const std::string& tensor, std::span<float> ours,
                            std::span<const float> theirs) {
  return for_each_piece(spec, box, tensor, ours.size(), theirs.size(),
                        [&](const FilePiece& piece, std::int64_t our_first, std::int64_t our_stride,
                            std::int64_t their_first, std::int64_t their_stride) {
                          const Rectangle<const float> from{theirs.data() + their_first, their_stride};
                          const Rectangle<float> to{ours.data() + our_first, our_stride};
                          if (piece.transposed)
                            transpose(from, to, piece.columns, piece.rows);
                          else
                            copy(from, to, piece.rows, piece.columns);
                        });
}

}  // namespace trireme
