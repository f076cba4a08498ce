#include "tests/cuda/parity/trial.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string_view>

namespace trireme::parity {
namespace {

constexpr std::uint16_t kNanBits = 0x7fff;  // a NaN in bf16 and in fp16
constexpr std::size_t kBytesBehind = 64;    // four packs
constexpr std::byte kBehind{0xA5};

std::uint16_t encode16(const oracle::Format& format, int exponent_bits, double x) {
  const std::uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const int fraction_bits = 15 - exponent_bits;
  if (std::isnan(x)) return kNanBits;
  if (std::isinf(x)) return static_cast<std::uint16_t>(sign | (((1 << exponent_bits) - 1) << fraction_bits));
  if (x == 0) return sign;
  int exponent;
  std::frexp(std::abs(x), &exponent);
  // Below the lowest normal exponent the hidden bit is missing, which is what a biased exponent of 0 means.
  const int unit = std::max(exponent - 1, format.lowest);
  const auto significand = static_cast<std::uint32_t>(std::ldexp(std::abs(x), format.digits - 1 - unit));
  return static_cast<std::uint16_t>(sign + ((unit - format.lowest) << fraction_bits) + significand);
}

double decode16(const oracle::Format& format, int exponent_bits, std::uint16_t bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int exponent = (bits & 0x7fff) >> fraction_bits;
  const int fraction = bits & ((1 << fraction_bits) - 1);
  double x;
  if (exponent == (1 << exponent_bits) - 1)
    x = fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  else if (exponent == 0)
    x = std::ldexp(fraction, format.lowest - fraction_bits);
  else
    x = std::ldexp(fraction + (1 << fraction_bits), format.lowest + exponent - 1 - fraction_bits);
  return bits & 0x8000 ? -x : x;
}

template <class T>
void put(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
template <class T>
T take(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

void encode(DType dtype, std::byte* at, double x) {
  switch (dtype) {
    case DType::kF32:
      return put(at, static_cast<float>(x));
    case DType::kBF16:
      return put(at, encode16(oracle::kBF16, 8, x));
    case DType::kF16:
      return put(at, encode16(oracle::kF16, 5, x));
    case DType::kI32:
      return put(at, static_cast<std::int32_t>(x));
    case DType::kI64:
      return put(at, static_cast<std::int64_t>(x));
  }
}

double decode(DType dtype, const std::byte* at) {
  switch (dtype) {
    case DType::kF32:
      return take<float>(at);
    case DType::kBF16:
      return decode16(oracle::kBF16, 8, take<std::uint16_t>(at));
    case DType::kF16:
      return decode16(oracle::kF16, 5, take<std::uint16_t>(at));
    case DType::kI32:
      return take<std::int32_t>(at);
    case DType::kI64:
      return static_cast<double>(take<std::int64_t>(at));
  }
  return 0;
}

bool is_integer(DType dtype) { return dtype == DType::kI32 || dtype == DType::kI64; }

}  // namespace

const oracle::Format& format_of(DType dtype) {
  return dtype == DType::kBF16 ? oracle::kBF16 : dtype == DType::kF16 ? oracle::kF16 : oracle::kF32;
}
double unit_roundoff(DType dtype) { return is_integer(dtype) ? 0 : std::ldexp(1.0, -format_of(dtype).digits); }

bool all_agree(const Report& report) {
  for (const Comparison& comparison : report)
    if (!(comparison.worst <= 1)) return false;
  return true;
}

std::string to_string(const Report& report, bool everything) {
  std::string text;
  for (const Comparison& comparison : report) {
    if (comparison.worst <= 1 && !everything) continue;
    char worst[64];
    std::snprintf(worst, sizeof worst, "%.3g of the tolerance", comparison.worst);
    text += comparison.op + ": " + comparison.what + ": " + worst + comparison.detail + "\n";
  }
  return text;
}

Trial::Trial(Device& device, const Kernels& kernels, std::string op)
    : ops(kernels),
      stream(device.create_stream(StreamKind::kCompute, "parity")),
      on_host(std::string_view(device.name()) == "host"),
      device_(device),
      op_(std::move(op)),
      random_(std::hash<std::string>()(op_)) {}

Trial::~Trial() {
  forget();
  device_.destroy_stream(stream);
}

void Trial::forget() {
  compare_bytes_behind();
  for (std::byte* block : blocks_) device_.release(block);
  blocks_.clear();
}

void Trial::compare_bytes_behind() {
  std::vector<std::byte> got(kBytesBehind * behind_.size());
  for (std::size_t i = 0; i < behind_.size(); ++i)
    device_.download(stream, got.data() + i * kBytesBehind, Tensor{behind_[i].at, DType::kI32, {kBytesBehind / 4}});
  device_.synchronize(stream);
  for (std::size_t i = 0; i < behind_.size(); ++i) {
    const auto begin = got.begin() + static_cast<std::ptrdiff_t>(i * kBytesBehind), end = begin + kBytesBehind;
    const auto written = std::find_if(begin, end, [](std::byte each) { return each != kBehind; });
    if (written != end)
      report.push_back({op_, "behind " + behind_[i].output + ", " + circumstances_,
                        std::numeric_limits<double>::infinity(),
                        ": byte " + std::to_string(written - begin) + " beyond the end was written"});
  }
  behind_.clear();
}

Operand Trial::place(const Shape& shape, DType dtype, oracle::Values values, std::size_t bytes_behind) {
  CHECK(static_cast<std::int64_t>(values.size()) == shape.elements());
  const std::size_t bytes = values.size() * bytes_of(dtype);
  blocks_.push_back(device_.allocate(std::max<std::size_t>(bytes + bytes_behind, 1)));
  std::vector<std::byte> staged(bytes + bytes_behind, kBehind);
  for (std::size_t at = 0; at < values.size(); ++at) {
    if (!is_integer(dtype)) values[at] = oracle::round_to(format_of(dtype), values[at]);
    encode(dtype, staged.data() + at * bytes_of(dtype), values[at]);
  }
  Operand operand{{blocks_.back(), dtype, shape}, std::move(values)};
  const auto elements = static_cast<std::int64_t>(staged.size() / bytes_of(dtype));
  if (elements > 0) device_.upload(stream, {blocks_.back(), dtype, {elements}}, staged.data());
  return operand;
}

Operand Trial::normal(const Shape& shape, DType dtype, double deviation, double mean) {
  oracle::Values values(static_cast<std::size_t>(shape.elements()));
  std::normal_distribution<double> draw(mean, deviation);
  for (double& value : values) value = draw(random_);
  return place(shape, dtype, std::move(values));
}

Operand Trial::integers(const Shape& shape, DType dtype, std::int64_t least, std::int64_t most) {
  oracle::Values values(static_cast<std::size_t>(shape.elements()));
  std::uniform_int_distribution<std::int64_t> draw(least, most);
  for (double& value : values) value = static_cast<double>(draw(random_));
  return place(shape, dtype, std::move(values));
}

Operand Trial::given(const Shape& shape, DType dtype, const oracle::Values& values) {
  return place(shape, dtype, values);
}

Operand Trial::poisoned(const Shape& shape, DType dtype) {
  const double poison = dtype == DType::kI32   ? -0x5A5A5A5B
                        : dtype == DType::kI64 ? -0x5A5A5A5A5A5B
                                               : std::numeric_limits<double>::quiet_NaN();
  const oracle::Values values(static_cast<std::size_t>(shape.elements()), poison);
  const Operand operand = place(shape, dtype, values, kBytesBehind);
  behind_.push_back({operand.tensor.data + operand.tensor.bytes(),
                     std::string("an output ") + trireme::to_string(shape) + " of " + name_of(dtype)});
  return operand;
}

RowIds Trial::row_ids(std::int64_t rows, oracle::Values& sample, oracle::Values& offset) {
  const std::int64_t first = (std::int64_t{3} << 32) - 1;
  const Operand samples = integers({rows}, DType::kI64, first, first + 2);
  const Operand offsets = integers({rows}, DType::kI32, 0, 70000);
  sample = samples.values;
  offset = offsets.values;
  return {samples.tensor, offsets.tensor};
}

oracle::Values Trial::read(const Tensor& tensor) {
  std::vector<std::byte> staged(tensor.bytes());
  if (!staged.empty()) device_.download(stream, staged.data(), tensor);
  device_.synchronize(stream);
  oracle::Values values(static_cast<std::size_t>(tensor.elements()));
  for (std::size_t at = 0; at < values.size(); ++at)
    values[at] = decode(tensor.dtype, staged.data() + at * bytes_of(tensor.dtype));
  return values;
}

void Trial::compare(const char* output, const Tensor& got, const oracle::Values& want,
                    const oracle::Values& tolerance) {
  const oracle::Values values = read(got);
  CHECK(values.size() == want.size(), op_, ": ", output, " has ", values.size(), " elements, the oracle ", want.size());
  Comparison comparison{op_, std::string(output) + ", " + name_of(got.dtype) + ", " + circumstances_, 0, ""};
  for (std::size_t at = 0; at < values.size(); ++at) {
    const bool same = values[at] == want[at] || (std::isnan(values[at]) && std::isnan(want[at]));
    const double error = std::abs(values[at] - want[at]);
    // A NaN on one side only compares as infinitely wrong.
    const double ratio = same                     ? 0
                         : error <= tolerance[at] ? error / tolerance[at]
                                                  : std::max(error / tolerance[at], 2.0);
    if (ratio <= comparison.worst) continue;
    comparison.worst = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : ratio;
    char detail[160];
    std::snprintf(detail, sizeof detail, " at element %zu: %.9g, should be %.9g within %.3g", at, values[at], want[at],
                  tolerance[at]);
    comparison.detail = detail;
    if (comparison.worst == std::numeric_limits<double>::infinity()) break;
  }
  report.push_back(std::move(comparison));
}

void Trial::expect(const char* output, const Tensor& got, const oracle::Result& want, double c) {
  expect(output, got, want, c, oracle::Values(want.value.size(), 0));
}

void Trial::expect(const char* output, const Tensor& got, const oracle::Result& want, double c,
                   const oracle::Values& rounding) {
  const double u = unit_roundoff(got.dtype);
  const oracle::Format& format = format_of(got.dtype);
  const double half_subnormal = std::ldexp(0.5, format.lowest - (format.digits - 1));
  oracle::Values tolerance(want.value.size());
  for (std::size_t at = 0; at < tolerance.size(); ++at)
    tolerance[at] =
        (1 + u) * (c * 0x1p-24 * want.terms[at] + rounding[at]) + u * std::abs(want.value[at]) + half_subnormal;
  compare(output, got, want.value, tolerance);
}

void Trial::expect_exactly(const char* output, const Tensor& got, const oracle::Values& want) {
  compare(output, got, want, oracle::Values(want.size(), 0));
}

void Trial::expect_same(const char* output, const Tensor& got, const Tensor& other) {
  expect_exactly(output, got, read(other));
}

}  // namespace trireme::parity
