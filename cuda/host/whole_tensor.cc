#include <cmath>
#include <vector>

#include "cuda/host/host_stream.h"
#include "cuda/host/ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cuda/host/whole_tensor.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "cuda/host/block_sums.h"
#include "cuda/host/simd.h"

HWY_BEFORE_NAMESPACE();
namespace trireme::host::HWY_NAMESPACE {

void fill_range(const Tensor& x, float value, std::int64_t begin, std::int64_t end) {
  with_type(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    const Vector v = set(value);
    map(
        end - begin, [v]() HWY_ATTR { return v; }, as<T>(x) + begin);
  });
}

void convert_range(const Tensor& to, const Tensor& from, std::int64_t begin, std::int64_t end) {
  with_type(from.dtype, [&](auto source) {
    using From = typename decltype(source)::type;
    with_type(to.dtype, [&](auto target) {
      using To = typename decltype(target)::type;
      map(
          end - begin, [](Vector v) HWY_ATTR { return v; }, as<To>(to) + begin, as<From>(from) + begin);
    });
  });
}

void add_range(const Tensor& to, const Tensor& from, std::int64_t begin, std::int64_t end) {
  float* sum_ = as<float>(to) + begin;
  map(
      end - begin, [](Vector a, Vector b) HWY_ATTR { return hn::Add(a, b); }, sum_, sum_, as<float>(from) + begin);
}

// (p0 + p1) + (p2 + p3) ..., an odd one out joining at the next level: the left half is the largest power of two below
// n.
template <class Load>
Vector tree(const Tensor* parts, std::size_t n, const Load& at) {
  if (n == 1) return at(parts[0]);
  std::size_t left = 1;
  while (2 * left < n) left *= 2;
  const Vector a = tree(parts, left, at);
  return hn::Add(a, tree(parts + left, n - left, at));
}

void sum_tree_range(const Tensor& to, const std::vector<Tensor>& parts, std::int64_t begin, std::int64_t end) {
  std::int64_t i = begin;
  for (; i + lanes() <= end; i += lanes())
    store(tree(parts.data(), parts.size(), [i](const Tensor& part) HWY_ATTR { return load(as<float>(part) + i); }),
          as<float>(to) + i);
  if (i < end)
    store_part(tree(parts.data(), parts.size(),
                    [i, end](const Tensor& part) HWY_ATTR { return load_part(as<float>(part) + i, end - i); }),
               as<float>(to) + i, end - i);
}

// Sums of the blocks [begin, end) of 1024 elements of x.
void block_sums(float* sums_, const float* x, std::int64_t n, std::int64_t begin, std::int64_t end) {
  for (std::int64_t block = begin; block < end; ++block)
    sums_[block] = sum(
        std::min(kSumBlock, n - block * kSumBlock), [](Vector v) HWY_ATTR { return v; }, x + block * kSumBlock);
}

}  // namespace trireme::host::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme::host {

HWY_EXPORT(fill_range);
HWY_EXPORT(convert_range);
HWY_EXPORT(add_range);
HWY_EXPORT(sum_tree_range);
HWY_EXPORT(block_sums);

void convert(const Tensor& to, const Tensor& from, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(convert_range)(to, from, begin, end);
}

void fill(Stream stream, Tensor x, float value) {
  CHECK(x.given(), "fill: x is not given");
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, x.elements()), x.elements(), [&](std::int64_t begin, std::int64_t end) {
      if (x.dtype == DType::kI32)
        std::fill(as<std::int32_t>(x) + begin, as<std::int32_t>(x) + end, static_cast<std::int32_t>(std::lrint(value)));
      else if (x.dtype == DType::kI64)
        std::fill(as<std::int64_t>(x) + begin, as<std::int64_t>(x) + end,
                  static_cast<std::int64_t>(std::llrint(value)));
      else
        HWY_DYNAMIC_DISPATCH(fill_range)(x, value, begin, end);
    });
  });
}

void copy(Stream stream, Tensor to, Tensor from) {
  CHECK(to.elements() == from.elements(), "copy: from ", to_string(from.shape), " to ", to_string(to.shape));
  const bool integers = from.dtype == DType::kI32 || from.dtype == DType::kI64;
  CHECK(to.dtype == from.dtype || !(integers || to.dtype == DType::kI32 || to.dtype == DType::kI64), "copy: from ",
        name_of(from.dtype), " to ", name_of(to.dtype));
  enqueue(stream, [=](int threads) {
    const std::size_t size = bytes_of(to.dtype);
    parallel_for(threads_for(threads, to.elements()), to.elements(), [&](std::int64_t begin, std::int64_t end) {
      if (to.dtype == from.dtype)
        std::memcpy(to.data + static_cast<std::size_t>(begin) * size,
                    from.data + static_cast<std::size_t>(begin) * size, static_cast<std::size_t>(end - begin) * size);
      else
        convert(to, from, begin, end);
    });
  });
}

void add(Stream stream, Tensor to, Tensor from) {
  check_operand("add", "to", to, DType::kF32, from.shape);
  check_operand("add", "from", from, DType::kF32, from.shape);
  enqueue(stream, [=](int threads) {
    parallel_for(threads_for(threads, to.elements()), to.elements(), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(add_range)(to, from, begin, end);
    });
  });
}

void sum_tree(Stream stream, Tensor to, Tensors parts) {
  CHECK(!parts.empty(), "sum_tree: no parts");
  check_operand("sum_tree", "to", to, DType::kF32, to.shape);
  for (const Tensor& part : parts) check_operand("sum_tree", "a part", part, DType::kF32, to.shape);
  enqueue(stream, [to, all = std::vector<Tensor>(parts.begin(), parts.end())](int threads) {
    parallel_for(threads_for(threads, to.elements()), to.elements(), [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(sum_tree_range)(to, all, begin, end);
    });
  });
}

void add_sum(Stream stream, Tensor total, Tensor x) {
  check_operand("add_sum", "total", total, DType::kF32, {1});
  check_operand("add_sum", "x", x, DType::kF32, x.shape);
  enqueue(stream, [=](int threads) {
    std::vector<float> sums(static_cast<std::size_t>(sum_blocks(x.elements())));
    parallel_for(threads_for(threads, x.elements()), sum_blocks(x.elements()),
                 [&](std::int64_t begin, std::int64_t end) {
                   HWY_DYNAMIC_DISPATCH(block_sums)(sums.data(), as<float>(x), x.elements(), begin, end);
                 });
    *as<float>(total) += tree_sum(sums.data(), sums.size());
  });
}

void reciprocal(Stream stream, Tensor ratio, Tensor count, Tensor numerator) {
  check_operand("reciprocal", "ratio", ratio, DType::kF32, {1});
  check_operand("reciprocal", "count", count, DType::kI64, {1});
  check_operand("reciprocal", "numerator", numerator, DType::kF32, {1});
  enqueue(stream, [=](int) {
    const auto divisor = static_cast<double>(*as<std::int64_t>(count));
    *as<float>(ratio) = divisor == 0 ? 0 : static_cast<float>(static_cast<double>(*as<float>(numerator)) / divisor);
  });
}

}  // namespace trireme::host
#endif  // HWY_ONCE
