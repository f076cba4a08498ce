// Forward: y[r] = table[ids[r] - first], 2 R C s bytes.
// Backward: dtable[ids[r] - first] += dy[r], R C s bytes and 8 C for each entry that occurs. No floating-point atomics:
// for each entry the first row that names it is found (integer minimum) and how many do; the block of that row then
// goes through the ids from there on and adds their gradients in the order of the rows to what the entry held, as the
// host does. It stops at the last one, so that rare entries cost little and frequent ones are found soon.
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

struct Occurrences {
  std::int32_t* first_row;  // [N], larger than any row where there is none
  std::int32_t* count;      // [N]
};

__global__ void __launch_bounds__(kThreads) count_entries(Occurrences of, const std::int32_t* ids, std::int64_t first,
                                                          std::int64_t entries, std::int64_t rows) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= rows) return;
  const std::int64_t entry = ids[row] - first;
  if (entry < 0 || entry >= entries) return;
  atomicMin(of.first_row + entry, static_cast<std::int32_t>(row));
  atomicAdd(of.count + entry, 1);
}

// Of kThreads rows from `begin` on, those that name `id`, in their order, to `matches`; answers how many. For the whole
// block.
__device__ inline int find_matches(std::int32_t* matches, std::int32_t* found_by_warp, const std::int32_t* ids,
                                   std::int64_t begin, std::int64_t rows, std::int32_t id) {
  const std::int64_t row = begin + threadIdx.x;
  const bool match = row < rows && ids[row] == id;
  const unsigned of_warp = __ballot_sync(0xffffffffu, match);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  __syncthreads();  // the matches of the call before have been read
  if (lane == 0) found_by_warp[warp] = __popc(of_warp);
  __syncthreads();
  int before = 0, all = 0;
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) {
    if (w < warp) before += found_by_warp[w];
    all += found_by_warp[w];
  }
  if (match) matches[before + __popc(of_warp & ((1u << lane) - 1))] = static_cast<std::int32_t>(row);
  __syncthreads();
  return all;
}

// Block (row, strip of columns).
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_gradients(float* dtable, const std::int32_t* ids, const T* dy, Occurrences of, std::int64_t first,
                  std::int64_t entries, std::int64_t rows, std::int64_t columns, bool aligned) {
  constexpr int kLanes = kLanesOf<T>;
  __shared__ std::int32_t matches[kThreads];
  __shared__ std::int32_t found_by_warp[kThreads / 32];
  const std::int32_t id = ids[blockIdx.x];
  const std::int64_t entry = id - first;
  if (entry < 0 || entry >= entries || of.first_row[entry] != static_cast<std::int32_t>(blockIdx.x)) return;

  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kLanes;
  const std::int64_t left = columns - column;  // not positive: this thread only searches
  float* to = dtable + entry * columns + column;
  Pack<kLanes> sum{};
  if (left > 0) sum = load<kLanes>(to, left, aligned);
  int missing = of.count[entry];
  for (std::int64_t begin = blockIdx.x; missing > 0; begin += kThreads) {
    const int found = find_matches(matches, found_by_warp, ids, begin, rows, id);
    missing -= found;
    if (left <= 0) continue;
#pragma unroll 4
    for (int i = 0; i < found; ++i) {
      const Pack<kLanes> gradient = load<kLanes>(dy + matches[i] * columns + column, left, aligned);
#pragma unroll
      for (int lane = 0; lane < kLanes; ++lane) sum.lane[lane] += gradient.lane[lane];
    }
  }
  if (left > 0) store(to, sum, left, aligned);
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
  Occurrences of{};
  of.first_row = scratch<std::int32_t>(stream, 2 * entries);
  of.count = of.first_row + entries;
  const std::size_t bytes = static_cast<std::size_t>(entries) * sizeof(std::int32_t);
  check(cudaMemsetAsync(of.first_row, 0x7f, bytes, launch.stream), "cudaMemsetAsync");
  check(cudaMemsetAsync(of.count, 0, bytes, launch.stream), "cudaMemsetAsync");
  count_entries<<<launch.blocks(parts(rows, kThreads)), kThreads, 0, launch.stream>>>(of, as<const std::int32_t>(ids),
                                                                                      first, entries, rows);
  launch.done();
  with_type(dy.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    add_gradients<<<launch.blocks(rows, parts(columns, kThreads * kLanesOf<T>)), kThreads, 0, launch.stream>>>(
        as<float>(dtable), as<const std::int32_t>(ids), as<const T>(dy), of, first, entries, rows, columns,
        packs_aligned(kLanesOf<T>, columns, {dtable, dy}));
    launch.done();
  });
}

}  // namespace trireme::cuda
