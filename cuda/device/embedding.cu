// Forward: y[r] = table[ids[r] - first], 2 R C s bytes.
// Backward: dtable[ids[r] - first] += dy[r], R C s bytes and 8 C for each entry that occurs. No floating-point atomics:
// rows are sorted by their entry, stably, so that the rows of an entry stand beside one another in their order; a block
// for each entry that occurs then adds their gradients to what the entry held, as the host does. The sort goes by
// digits of 6 bits, 3 for a table of up to 262143 entries, and a launch for each: a block for a value of the digit
// reads all rows twice, which is 1 KiB a row and digit out of L2 cache, and writes those that have it. Whatever the ids
// are, R rows cost R times the same.
#include <utility>

#include "cuda/device/elements.cuh"
#include "cuda/device/ops.h"
#include "cuda/device/rows.cuh"
#include "cuda/device/scratch.h"

namespace trireme::cuda {
namespace {

template <int kLanes, class Y, class T>
__global__ void __launch_bounds__(kRowThreads)
    embedding_forward_kernel(Y* y, const std::int32_t* ids, const T* table, std::int64_t first, std::int64_t entries,
                             std::int64_t rows, std::int64_t columns, bool aligned, bool add) {
  for_each_pack<kLanes>(rows, columns, [&](std::int64_t row, std::int64_t column, std::int64_t left) {
    const std::int64_t entry = ids[row] - first;
    const bool found = 0 <= entry && entry < entries;
    if (add && !found) return;
    Pack<kLanes> value{};
    if (found) value = load<kLanes>(table + entry * columns + column, left, aligned);
    Y* to = y + row * columns + column;
    if (add) {
      const Pack<kLanes> held = load<kLanes>(to, left, aligned);
#pragma unroll
      for (int i = 0; i < kLanes; ++i) value.lane[i] += held.lane[i];
    }
    store(to, value, left, aligned);
  });
}

constexpr int kThreads = 256;
constexpr int kSortThreads = 1024;
constexpr int kDigitBits = 6;
constexpr std::int64_t kMostRows = std::int64_t{1} << 30;  // and entries: they are counted in 32 bits

// Which entry a row names. Rows that name none of this table's name `entries`, behind all that are.
struct Naming {
  std::int32_t entry, row;
};
struct NamingsOfIds {
  const std::int32_t* ids;
  std::int64_t first;
  std::int32_t entries;

  __device__ Naming operator()(std::int64_t row) const {
    const std::int64_t entry = ids[row] - first;
    return {0 <= entry && entry < entries ? static_cast<std::int32_t>(entry) : entries, static_cast<std::int32_t>(row)};
  }
};
struct SortedNamings {
  const Naming* namings;

  __device__ Naming operator()(std::int64_t at) const { return namings[at]; }
};

// How many threads of the block before this one have `mine` set, and how many of all. For the whole block.
struct Place {
  int before, all;
};
__device__ inline Place place_in_block(bool mine, int (&of_warps)[kSortThreads / 32]) {
  const unsigned of_warp = __ballot_sync(0xffffffffu, mine);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  __syncthreads();  // the counts of the call before have been read
  if (lane == 0) of_warps[warp] = __popc(of_warp);
  __syncthreads();
  Place place{__popc(of_warp & ((1u << lane) - 1)), 0};
#pragma unroll
  for (int w = 0; w < kSortThreads / 32; ++w) {
    if (w < warp) place.before += of_warps[w];
    place.all += of_warps[w];
  }
  return place;
}

// Block d moves what has digit d behind what has a smaller one, and leaves its order.
template <class Namings>
__global__ void __launch_bounds__(kSortThreads) sort_by_digit(Naming* to, Namings from, std::int64_t rows, int shift) {
  __shared__ int of_warps[kSortThreads / 32];
  const int mine = static_cast<int>(blockIdx.x);
  const auto digit_of = [&](const Naming& one) { return one.entry >> shift & ((1 << kDigitBits) - 1); };
  std::int64_t next = 0;
  for (std::int64_t begin = 0; begin < rows; begin += kSortThreads) {
    const std::int64_t at = begin + threadIdx.x;
    next += __syncthreads_count(at < rows && digit_of(from(at)) < mine);
  }
  for (std::int64_t begin = 0; begin < rows; begin += kSortThreads) {
    const std::int64_t at = begin + threadIdx.x;
    const Naming one = at < rows ? from(at) : Naming{};
    const bool moves = at < rows && digit_of(one) == mine;
    const Place place = place_in_block(moves, of_warps);
    if (moves) to[next + place.before] = one;
    next += place.all;
  }
}

// Block (place in the order, strip of columns): it works if an entry's rows begin there. So many rows at once, so that
// enough loads are under way.
constexpr int kAhead = 4;
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_gradients(float* dtable, const Naming* order, const T* dy, std::int32_t entries, std::int64_t rows,
                  std::int64_t columns, bool aligned) {
  constexpr int kLanes = kLanesOf<T>;
  const std::int64_t begin = blockIdx.x;
  const std::int32_t entry = order[begin].entry;
  if (entry == entries || (begin > 0 && order[begin - 1].entry == entry)) return;
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kLanes;
  const std::int64_t left = columns - column;
  if (left <= 0) return;
  float* to = dtable + entry * columns + column;
  Pack<kLanes> sum = load<kLanes>(to, left, aligned);
  for (std::int64_t at = begin;; at += kAhead) {
    Pack<kLanes> gradients[kAhead];
    int found = 0;  // the first so many are the entry's
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const Naming one = at + i < rows ? order[at + i] : Naming{entries, 0};
      if (one.entry != entry) continue;
      gradients[i] = load<kLanes>(dy + one.row * columns + column, left, aligned);
      found = i + 1;
    }
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      if (i >= found) continue;
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) sum.lane[lane] += gradients[i].lane[lane];
    }
    if (found < kAhead) break;
  }
  store(to, sum, left, aligned);
}

// The rows in the order of their entries, in the stream's scratch memory.
const Naming* sorted_by_entry(const Launch& launch, Stream stream, const std::int32_t* ids, std::int64_t first,
                              std::int32_t entries, std::int64_t rows) {
  Naming* to = scratch<Naming>(stream, 2 * rows);
  Naming* other = to + rows;
  for (int shift = 0; shift == 0 || entries >> shift != 0; shift += kDigitBits) {
    const dim3 digits = launch.blocks(std::min<std::int64_t>(1 << kDigitBits, (entries >> shift) + 1));
    if (shift == 0)
      sort_by_digit<<<digits, kSortThreads, 0, launch.stream>>>(to, NamingsOfIds{ids, first, entries}, rows, shift);
    else
      sort_by_digit<<<digits, kSortThreads, 0, launch.stream>>>(to, SortedNamings{other}, rows, shift);
    launch.done();
    std::swap(to, other);
  }
  return other;
}

}  // namespace

void embedding_forward(Stream stream, Tensor y, Tensor ids, Tensor table, std::int64_t first, Write write) {
  const char* op = "embedding_forward";
  const Launch launch(stream, op);
  CHECK(table.shape.dims() == 2 && ids.shape.dims() == 1, op, ": table is ", to_string(table.shape),
        ", should be [N, C]; ids are ", to_string(ids.shape), ", should be [R]");
  check_operand(op, "ids", ids, DType::kI32, ids.shape);
  check_operand(op, "y", y, y.dtype, {ids.size(0), table.size(1)});
  CHECK(y.dtype == table.dtype || y.dtype == DType::kF32, op, ": y is ", name_of(y.dtype), ", the table ",
        name_of(table.dtype));
  if (y.elements() == 0) return;
  const auto launch_types = [&](auto y_type, auto table_type) {
    using Y = typename decltype(y_type)::type;
    using T = typename decltype(table_type)::type;
    constexpr int kLanes = std::min(kLanesOf<Y>, kLanesOf<T>);
    const RowGrid on(launch, y.size(0), y.size(1), kLanes);
    embedding_forward_kernel<kLanes><<<on.grid, on.block, 0, launch.stream>>>(
        as<Y>(y), as<const std::int32_t>(ids), as<const T>(table), first, table.size(0), y.size(0), y.size(1),
        packs_aligned(kLanes, y.size(1), {y, table}), write == Write::kAdd);
    launch.done();
  };
  with_type(table.dtype, [&](auto type) {
    if (y.dtype == table.dtype)
      launch_types(type, type);
    else
      launch_types(Type<float>(), type);
  });
}

void embedding_backward(Stream stream, Tensor dtable, Tensor ids, Tensor dy, std::int64_t first) {
  const char* op = "embedding_backward";
  const Launch launch(stream, op);
  CHECK(dy.shape.dims() == 2 && dtable.shape.dims() == 2, op, ": dy is ", to_string(dy.shape),
        ", should be [R, C]; dtable is ", to_string(dtable.shape), ", should be [N, C]");
  check_operand(op, "ids", ids, DType::kI32, {dy.size(0)});
  check_operand(op, "dtable", dtable, DType::kF32, {dtable.size(0), dy.size(1)});
  const std::int64_t rows = dy.size(0), columns = dy.size(1), entries = dtable.size(0);
  if (dy.elements() == 0 || entries == 0) return;
  CHECK(rows <= kMostRows && entries < kMostRows, op, ": ", rows, " rows, ", entries, " entries");
  const auto named = static_cast<std::int32_t>(entries);
  const Naming* order = sorted_by_entry(launch, stream, as<const std::int32_t>(ids), first, named, rows);
  with_type(dy.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    add_gradients<<<launch.blocks(rows, parts(columns, kThreads * kLanesOf<T>)), kThreads, 0, launch.stream>>>(
        as<float>(dtable), order, as<const T>(dy), named, rows, columns,
        packs_aligned(kLanesOf<T>, columns, {dtable, dy}));
    launch.done();
  });
}

}  // namespace trireme::cuda
