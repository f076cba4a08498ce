#include "cuda/host/linear_tiles.h"

#include <algorithm>
#include <cstring>

#include "cuda/host/gemm.h"
#include "cuda/host/host_stream.h"
#include "cuda/host/linear_rows.h"
#include "cuda/host/scratch.h"

namespace trireme::host {
namespace {

constexpr std::int64_t kTileRows = 64;
constexpr std::int64_t kTileColumns = 512;
constexpr std::int64_t kWeightRows = 128;                         // of a tile of dw
constexpr std::int64_t kScratchElements = std::int64_t{8} << 20;  // of one copy of operands

std::int64_t parts(std::int64_t n, std::int64_t size) { return (n + size - 1) / size; }

// Columns of a tile of w with K rows: fewer where K is large, so that its copy is bounded.
std::int64_t tile_columns(std::int64_t k) {
  return std::clamp(kScratchElements / std::max<std::int64_t>(k, 1) / 64 * 64, std::int64_t{64}, kTileColumns);
}

// One thread's copies of the operands of a tile.
struct TileScratch {
  Scratch a;
  Scratch b;
  Scratch c;
};
TileScratch& tile_scratch() {
  static thread_local TileScratch of_this_thread;
  return of_this_thread;
}

class TiledProduct {
 public:
  explicit TiledProduct(const Product& product)
      : product_(product),
        rows_(product.y.size(0)),
        n_(product.y.size(1)),
        k_(product.x.size(1)),
        native_(library_multiplies(product.x.dtype)),
        columns_(tile_columns(k_)) {}

  void run(int threads) {
    static thread_local Scratch packed_tiles;
    const std::int64_t all = parts(n_, columns_);
    const std::int64_t together = std::clamp<std::int64_t>(kScratchElements / (columns_ * k_ + 1), 1, all);
    for (std::int64_t first = 0; first < all; first += together) {
      const std::int64_t tiles = std::min(together, all - first);
      const std::size_t stride = packed_bytes();
      std::byte* packed = packed_tiles.get(stride * static_cast<std::size_t>(tiles));
      parallel_tasks(threads, tiles, [&](std::int64_t tile) { pack(first + tile, packed + stride * tile); });
      const std::int64_t bands = parts(rows_, kTileRows);
      // Neighbours share the rows of x, which may be copied.
      parallel_tasks(threads, bands * tiles, [&](std::int64_t task) {
        const std::int64_t tile = task % tiles;
        multiply(task / tiles, first + tile, packed + stride * tile);
      });
    }
  }

 private:
  Gemm gemm(std::int64_t columns) const {
    Gemm gemm;
    gemm.m = kTileRows;
    gemm.n = columns;
    gemm.k = k_;
    gemm.a_row = k_;
    // A widened tile of w is dense; else it lies within w.
    const std::int64_t whole = native_ ? n_ : columns;
    gemm.b_row = product_.w_is_transposed ? 1 : whole;
    gemm.b_column = product_.w_is_transposed ? k_ : 1;
    gemm.c_row = columns;
    gemm.operands = native_ ? product_.x.dtype : DType::kF32;
    gemm.packed = true;
    return gemm;
  }
  std::int64_t columns_of(std::int64_t tile) const { return std::min(columns_, n_ - tile * columns_); }

  std::size_t packed_bytes() const {
    const LibraryThreads alone(1);
    std::size_t most = 0;
    for (std::int64_t tile : {std::int64_t{0}, parts(n_, columns_) - 1})
      most = std::max(most, GemmPlan::of(gemm(columns_of(tile))).packed_bytes());
    return (most + 63) / 64 * 64;
  }

  void pack(std::int64_t tile, std::byte* packed) const {
    const LibraryThreads alone(1);
    const std::int64_t column = tile * columns_;
    const std::int64_t columns = columns_of(tile);
    const Rectangle part =
        product_.w_is_transposed ? Rectangle{column, columns, 0, k_} : Rectangle{0, k_, column, columns};
    const void* source = product_.w.data + static_cast<std::size_t>(part.row * product_.w.size(1) + part.column) *
                                               bytes_of(product_.w.dtype);
    if (!native_) {
      float* wide = tile_scratch().b.get<float>(static_cast<std::size_t>(k_ * columns));
      widen(wide, product_.w, part);
      source = wide;
    }
    GemmPlan::of(gemm(columns)).pack(packed, source);
  }

  // Rows of x, as many as a tile has: as they lie, or copied.
  const void* rows_of_x(std::int64_t row, std::int64_t rows) const {
    const std::size_t row_bytes = static_cast<std::size_t>(k_) * bytes_of(product_.x.dtype);
    const std::byte* source = product_.x.data + static_cast<std::size_t>(row) * row_bytes;
    if (native_ && rows == kTileRows) return source;
    const std::size_t copied_row = native_ ? row_bytes : static_cast<std::size_t>(k_) * sizeof(float);
    std::byte* copy = tile_scratch().a.get(kTileRows * copied_row);
    const std::size_t filled = static_cast<std::size_t>(rows) * copied_row;
    if (native_)
      std::memcpy(copy, source, filled);
    else
      widen(reinterpret_cast<float*>(copy), product_.x, {row, rows, 0, k_});
    std::memset(copy + filled, 0, kTileRows * copied_row - filled);
    return copy;
  }

  void multiply(std::int64_t band, std::int64_t tile, const std::byte* packed) const {
    const LibraryThreads alone(1);
    const std::int64_t row = band * kTileRows;
    const std::int64_t rows = std::min(kTileRows, rows_ - row);
    const std::int64_t columns = columns_of(tile);
    float* sums = tile_scratch().c.get<float>(static_cast<std::size_t>(kTileRows * columns));
    GemmPlan::of(gemm(columns)).run(sums, rows_of_x(row, rows), packed, nullptr, nullptr);
    finish(product_.y, {row, rows, tile * columns_, columns}, sums, product_.bias, product_.residual);
  }

  const Product product_;
  const std::int64_t rows_;
  const std::int64_t n_;
  const std::int64_t k_;
  const bool native_;
  const std::int64_t columns_;
};

// Adds the sums over these rows of dy and x, both of a type that the library multiplies.
void add_tiles(const Tensor& dw, const Tensor& dy, const Tensor& x, int threads) {
  const std::int64_t outputs = dw.size(0);
  const std::int64_t inputs = dw.size(1);
  const std::int64_t down = parts(outputs, kWeightRows);
  const std::int64_t across = parts(inputs, kTileColumns);
  parallel_tasks(threads, down * across, [&](std::int64_t task) {
    const LibraryThreads alone(1);
    const std::int64_t row = task / across * kWeightRows;
    const std::int64_t column = task % across * kTileColumns;
    Gemm gemm;
    gemm.m = std::min(kWeightRows, outputs - row);
    gemm.n = std::min(kTileColumns, inputs - column);
    gemm.k = x.size(0);
    gemm.a_row = 1;
    gemm.a_column = outputs;
    gemm.b_row = inputs;
    gemm.c_row = inputs;
    gemm.operands = x.dtype;
    gemm.joined = Joined::kWhatCHeld;
    GemmPlan::of(gemm).run(dw.data + static_cast<std::size_t>(row * inputs + column) * sizeof(float),
                           dy.data + static_cast<std::size_t>(row) * bytes_of(dy.dtype),
                           x.data + static_cast<std::size_t>(column) * bytes_of(x.dtype), nullptr, nullptr);
  });
}

// Rows [begin, end) of `from` in fp32.
Tensor widened(Scratch& scratch, const Tensor& from, std::int64_t begin, std::int64_t end, int threads) {
  const std::int64_t columns = from.size(1);
  float* to = scratch.get<float>(static_cast<std::size_t>((end - begin) * columns));
  parallel_for(threads, end - begin, [&](std::int64_t first, std::int64_t last) {
    widen(to + first * columns, from, {begin + first, last - first, 0, columns});
  });
  return {reinterpret_cast<std::byte*>(to), DType::kF32, {end - begin, columns}};
}

}  // namespace

void multiply_tiles(const Product& product, int threads) { TiledProduct(product).run(threads); }

void add_weight_gradient_tiles(const Tensor& dw, const Tensor& dy, const Tensor& x, int threads) {
  if (library_multiplies(x.dtype)) return add_tiles(dw, dy, x, threads);
  static thread_local Scratch dy_panel;
  static thread_local Scratch x_panel;
  const std::int64_t rows = x.size(0);
  const std::int64_t panel = std::clamp<std::int64_t>(kScratchElements / (dw.size(0) + dw.size(1)), 32, 512);
  for (std::int64_t begin = 0; begin < rows; begin += panel) {
    const std::int64_t end = std::min(rows, begin + panel);
    add_tiles(dw, widened(dy_panel, dy, begin, end, threads), widened(x_panel, x, begin, end, threads), threads);
  }
}

}  // namespace trireme::host
