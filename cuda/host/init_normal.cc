// Lanes 2j and 2j + 1 of the block of elements 4 b .. 4 b + 3 make a pair by Box-Muller:
// sqrt(-2 ln u) (cos, sin)(2 pi v), u = (lane[2j] + 1) / 2^32, v = lane[2j + 1] / 2^32. So |x| < 6.67 std.
#include <cmath>

#include "cuda/core/philox.h"
#include "cuda/host/elements.h"
#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

namespace trireme::host {
namespace {

void normal_block(std::uint64_t key, std::uint64_t block, double* four) {
  constexpr double kTwoPi = 6.283185307179586476925;
  const PhiloxBlock bits =
      philox(key, static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0);
  for (int pair = 0; pair < 4; pair += 2) {
    const double radius = std::sqrt(-2 * std::log((bits.lane[pair] + 1.0) * 0x1p-32));
    const double angle = kTwoPi * (bits.lane[pair + 1] * 0x1p-32);
    four[pair] = radius * std::cos(angle);
    four[pair + 1] = radius * std::sin(angle);
  }
}

// Where element `at` of the box lies in the global tensor.
std::int64_t global_element(std::int64_t at, const Shape& box, const Shape& global, const Shape& begin) {
  std::int64_t element = 0, stride = 1;
  for (int dim = box.dims() - 1; dim >= 0; --dim) {
    element += (begin[dim] + at % box[dim]) * stride;
    at /= box[dim];
    stride *= global[dim];
  }
  return element;
}

// `count` elements that follow each other in the global tensor too, from `element` on.
void normal_run(float* out, std::int64_t count, std::int64_t element, std::uint64_t key, float std) {
  double four[4];
  for (std::int64_t i = 0; i < count; ++i, ++element) {
    if (i == 0 || element % 4 == 0) normal_block(key, static_cast<std::uint64_t>(element) / 4, four);
    out[i] = static_cast<float>(four[element % 4] * std);
  }
}

}  // namespace

void init_normal(Stream stream, Tensor x, Shape global, Shape begin, std::uint64_t key, float std) {
  CHECK(x.given(), "init_normal: x is not given");
  CHECK(x.shape.dims() == global.dims() && begin.dims() == global.dims(), "init_normal: x ", to_string(x.shape), " at ",
        to_string(begin), " of ", to_string(global));
  for (int dim = 0; dim < global.dims(); ++dim)
    CHECK(begin[dim] >= 0 && begin[dim] + x.size(dim) <= global[dim], "init_normal: x ", to_string(x.shape), " at ",
          to_string(begin), " of ", to_string(global));
  enqueue(stream, [=](int threads) {
    const std::int64_t width = x.shape.dims() == 0 ? 1 : x.size(x.shape.dims() - 1);
    parallel_for(threads_for(threads, x.elements()), x.elements(), [&](std::int64_t from, std::int64_t to) {
      while (from < to) {
        constexpr std::int64_t kRun = 512;  // elements
        float run[kRun];
        const std::int64_t count = std::min({width - from % width, to - from, kRun});
        normal_run(run, count, global_element(from, x.shape, global, begin), key, std);
        // Rounded to fp32, and from there: a bf16 weight is the rounding of its fp32 master.
        const Tensor rounded{reinterpret_cast<std::byte*>(run), DType::kF32, {count}};
        convert(x.flat(from, from + count), rounded, 0, count);
        from += count;
      }
    });
  });
}

}  // namespace trireme::host
