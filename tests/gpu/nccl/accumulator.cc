// Sums, products, minima and maxima over ranks. See operations.h.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/gpu/nccl/operations.h"
#include "tests/gpu/runtime/float16.h"

namespace trireme::gpu::nccl {
namespace {

template <class T>
T combine(ncclRedOp_t op, T a, T b) {
  switch (op) {
    case ncclProd:
      return static_cast<T>(a * b);
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:
      return static_cast<T>(a + b);  // sum and average
  }
}

template <class T>
T element(const std::byte* values, std::size_t i) {
  T value;
  std::memcpy(&value, values + i * sizeof(T), sizeof value);
  return value;
}

float read_float(ncclDataType_t type, const std::byte* values, std::size_t i) {
  if (type == ncclFloat32) return element<float>(values, i);
  const auto bits = element<std::uint16_t>(values, i);
  return type == ncclFloat16 ? from_float16(bits) : from_bfloat16(bits);
}

std::int64_t read_integer(ncclDataType_t type, const std::byte* values, std::size_t i) {
  switch (type) {
    case ncclInt8:
      return element<std::int8_t>(values, i);
    case ncclUint8:
      return element<std::uint8_t>(values, i);
    case ncclInt32:
      return element<std::int32_t>(values, i);
    case ncclUint32:
      return element<std::uint32_t>(values, i);
    default:
      return element<std::int64_t>(values, i);
  }
}

bool is_float(ncclDataType_t type) { return type == ncclFloat32 || type == ncclFloat16 || type == ncclBfloat16; }

template <class T>
void write(std::byte* result, std::size_t i, T value) {
  std::memcpy(result + i * sizeof(T), &value, sizeof value);
}

}  // namespace

Accumulator::Accumulator(ncclDataType_t type, ncclRedOp_t op, std::size_t count) : type_(type), op_(op), count_(count) {
  if (is_float(type))
    floats_.resize(count);
  else if (type == ncclFloat64)
    doubles_.resize(count);
  else
    integers_.resize(count);
}

void Accumulator::add(const std::byte* values) {
  for (std::size_t i = 0; i < count_; ++i) {
    if (is_float(type_)) {
      const float value = read_float(type_, values, i);
      floats_[i] = empty_ ? value : combine(op_, floats_[i], value);
    } else if (type_ == ncclFloat64) {
      const auto value = element<double>(values, i);
      doubles_[i] = empty_ ? value : combine(op_, doubles_[i], value);
    } else {
      const std::int64_t value = read_integer(type_, values, i);
      if (empty_)
        integers_[i] = value;
      else if (type_ == ncclUint64)
        integers_[i] = static_cast<std::int64_t>(
            combine(op_, static_cast<std::uint64_t>(integers_[i]), static_cast<std::uint64_t>(value)));
      else
        integers_[i] = static_cast<std::int64_t>(  // wraps as the types of the elements do
            op_ == ncclMax || op_ == ncclMin
                ? static_cast<std::uint64_t>(combine(op_, integers_[i], value))
                : combine(op_, static_cast<std::uint64_t>(integers_[i]), static_cast<std::uint64_t>(value)));
    }
  }
  empty_ = false;
}

void Accumulator::finish(std::byte* result, int ranks) const {
  const int divisor = op_ == ncclAvg ? ranks : 1;
  for (std::size_t i = 0; i < count_; ++i) {
    switch (type_) {
      case ncclFloat32:
        write(result, i, floats_[i] / static_cast<float>(divisor));
        break;
      case ncclFloat16:
        write(result, i, to_float16(floats_[i] / static_cast<float>(divisor)));
        break;
      case ncclBfloat16:
        write(result, i, to_bfloat16(floats_[i] / static_cast<float>(divisor)));
        break;
      case ncclFloat64:
        write(result, i, doubles_[i] / divisor);
        break;
      case ncclInt8:
        write(result, i, static_cast<std::int8_t>(integers_[i] / divisor));
        break;
      case ncclUint8:
        write(result, i, static_cast<std::uint8_t>(integers_[i] / divisor));
        break;
      case ncclInt32:
        write(result, i, static_cast<std::int32_t>(integers_[i] / divisor));
        break;
      case ncclUint32:
        write(result, i, static_cast<std::uint32_t>(integers_[i] / divisor));
        break;
      case ncclUint64:
        write(result, i, static_cast<std::uint64_t>(integers_[i]) / static_cast<std::uint64_t>(divisor));
        break;
      default:
        write(result, i, integers_[i] / divisor);
        break;
    }
  }
}

}  // namespace trireme::gpu::nccl
