#include <span>

#include "cuda/core/philox.h"
#include "tests/cuda/oracle/attention.h"
#include "tests/cuda/parity/walk.h"

namespace trireme::parity {
namespace {

enum class Mask {
  kCausal,     // documents of 70 rows, each row and what stands before it
  kFull,       // documents of 70 rows, all of them
  kWindow,     // the 20 rows before
  kCached,     // all keys up to the row's own, of more keys than rows
  kSomeEmpty,  // nothing to attend to for every document's first rows, and keys that nobody attends to
  kPacked,     // causal documents of uneven lengths
  kNothing,    // no keys
};
const char* name_of(Mask mask) {
  constexpr const char* kNames[] = {"causal", "full", "window", "cached", "some empty", "packed", "nothing"};
  return kNames[static_cast<int>(mask)];
}

struct Size {
  std::int64_t rows, extra_keys, heads, kv_heads, head_size;
  Mask mask;
};
constexpr Size kSizes[] = {
    {1, 0, 1, 1, 1, Mask::kCausal},     {150, 0, 2, 2, 33, Mask::kCausal},   {75, 0, 6, 2, 64, Mask::kCausal},
    {140, 0, 2, 1, 16, Mask::kFull},    {150, 0, 1, 1, 20, Mask::kWindow},   {1, 130, 4, 2, 24, Mask::kCached},
    {67, 70, 3, 1, 128, Mask::kCached}, {100, 9, 2, 2, 7, Mask::kSomeEmpty}, {0, 5, 2, 1, 8, Mask::kCausal},
    {130, 0, 1, 1, 32, Mask::kCausal},  {9, 0, 1, 1, 256, Mask::kFull},      {5, -5, 2, 1, 12, Mask::kNothing}};
// Of 16 bits only: heads, and rows beside multiples of the tiles, for which a back end has kernels of their own.
constexpr Size kSizesOf16Bits[] = {
    {1, 0, 2, 1, 64, Mask::kCausal},      {63, 0, 1, 1, 128, Mask::kCausal},  {64, 0, 1, 1, 64, Mask::kFull},
    {65, 0, 4, 1, 64, Mask::kPacked},     {200, 0, 1, 1, 64, Mask::kCausal},  {200, 0, 1, 1, 128, Mask::kPacked},
    {150, 0, 1, 1, 64, Mask::kWindow},    {1, 130, 4, 1, 128, Mask::kCached}, {130, 75, 2, 1, 64, Mask::kCached},
    {140, 9, 1, 1, 64, Mask::kSomeEmpty}, {260, 0, 1, 1, 64, Mask::kCausal},  {0, 5, 2, 1, 64, Mask::kCausal},
    {5, -5, 2, 1, 64, Mask::kNothing}};
constexpr std::int64_t kDocument = 70;
constexpr std::int64_t kPackedLengths[] = {37, 1, 64, 3, 90, 5};

// Where the document of row r begins.
std::int64_t packed_document(std::int64_t r) {
  std::int64_t begin = 0;
  for (std::size_t i = 0;; i = (i + 1) % std::size(kPackedLengths)) {
    if (r < begin + kPackedLengths[i]) return begin;
    begin += kPackedLengths[i];
  }
}

oracle::Values ranges_of(const Size& size) {
  oracle::Values ranges;
  for (std::int64_t r = 0; r < size.rows; ++r) {
    const std::int64_t document = r / kDocument * kDocument;
    std::int64_t begin = document;
    std::int64_t end = r + 1;
    if (size.mask == Mask::kFull) end = std::min(size.rows, document + kDocument);
    if (size.mask == Mask::kWindow) begin = std::max<std::int64_t>(0, r - 19);
    if (size.mask == Mask::kCached) begin = 0, end = size.extra_keys + r + 1;
    if (size.mask == Mask::kPacked) begin = packed_document(r);
    if (size.mask == Mask::kNothing) begin = end = 0;
    if (size.mask == Mask::kSomeEmpty) begin = document + 5, end = std::max(begin, r);
    ranges.push_back(static_cast<double>(begin));
    ranges.push_back(static_cast<double>(end));
  }
  return ranges;
}

// One call's operands; `with_dropout` only where there are as many keys as rows.
struct Inputs {
  oracle::AttentionShape shape;
  Operand q, kv, keys;
  float scale;
  Dropout dropout;
  RowIds rows;
  oracle::AttentionDropout drop;

  Inputs(Trial& trial, const Size& size, DType dtype, bool with_dropout) {
    const std::int64_t all_keys = size.rows + size.extra_keys;
    shape = {static_cast<std::size_t>(size.rows), static_cast<std::size_t>(all_keys),
             static_cast<std::size_t>(size.heads), static_cast<std::size_t>(size.kv_heads),
             static_cast<std::size_t>(size.head_size)};
    q = trial.normal({size.rows, size.heads, size.head_size}, dtype);
    kv = trial.normal({all_keys, 2, size.kv_heads, size.head_size}, dtype);
    keys = trial.given({size.rows, 2}, DType::kI32, ranges_of(size));
    scale = static_cast<float>(1 / std::sqrt(static_cast<double>(size.head_size)));
    if (with_dropout) {
      dropout = {0.25f, key_of(7, "attention"), size.head_size % 2 == 0 ? 5 : 0};
      drop.probability = dropout.probability;
      drop.key = dropout.key;
      drop.first_head = static_cast<std::size_t>(dropout.first_head);
      rows = trial.row_ids(size.rows, drop.sample, drop.offset);
    }
    trial.describe(std::string(trireme::name_of(dtype)) + ", " + name_of(size.mask) + " R=" +
                   std::to_string(size.rows) + " K=" + std::to_string(all_keys) + " H=" + std::to_string(size.heads) +
                   "/" + std::to_string(size.kv_heads) + " D=" + std::to_string(size.head_size) +
                   (with_dropout ? ", dropout from head " + std::to_string(dropout.first_head) : ""));
  }
};

// The exponent: D products, their sum, the maximum taken off; then exp (1 ulp), at most K additions twice over (sum and
// o), a rescaling for each 64 keys, a division: at most D + 2 K + K / 64 + 8 roundings of what the terms say.
double forward_bound(const oracle::AttentionShape& shape) {
  return static_cast<double>(shape.head_size + 2 * shape.keys + shape.keys / 64 + 8);
}
// The exponent as before; dp and delta sum D products, dq at most K of these, dkv at most R H.
double backward_bound(const oracle::AttentionShape& shape) {
  return static_cast<double>(3 * shape.head_size + std::max(shape.keys, shape.rows * shape.heads) + 12);
}

// What the contract lets a back end do to p and ds. The host leaves them in fp32.
oracle::AttentionRounding rounding_of(const Trial& trial, DType dtype) {
  if (trial.on_host || dtype == DType::kF32) return {};
  const oracle::Format& format = format_of(dtype);
  return {unit_roundoff(dtype), std::ldexp(0.5, format.lowest - (format.digits - 1))};
}

template <class Each>
void for_each_call(const Each& each) {
  for (bool has_16_bits : {false, true})
    for (const Size& size : has_16_bits ? std::span<const Size>(kSizesOf16Bits) : std::span<const Size>(kSizes))
      for (DType dtype : kActivationTypes) {
        if (has_16_bits && dtype == DType::kF32) continue;
        each(size, dtype, false);
        if (size.extra_keys == 0) each(size, dtype, true);
      }
}

// A sample's rows alone, and behind others in one batch: the same bits, and the same again when it is done twice.
void a_sample_beside_others(Trial& trial, DType dtype, bool backward) {
  constexpr std::int64_t kBefore = 37;
  constexpr std::int64_t kRows = 150;
  const std::int64_t head_size = dtype == DType::kF32 ? 8 : 64;
  const auto ranges = [](std::int64_t rows, std::int64_t other) {
    oracle::Values values;
    for (std::int64_t r = 0; r < rows; ++r) {
      values.push_back(static_cast<double>(r < other ? 0 : other));
      values.push_back(static_cast<double>(r + 1));
    }
    return values;
  };
  const Operand q = trial.normal({kRows, 2, head_size}, dtype);
  const Operand d_o = trial.normal(q.tensor.shape, dtype);
  const Operand kv = trial.normal({kRows, 2, 1, head_size}, dtype);
  const Operand keys = trial.given({kRows, 2}, DType::kI32, ranges(kRows, kBefore));
  const Operand keys_alone = trial.given({kRows - kBefore, 2}, DType::kI32, ranges(kRows - kBefore, 0));
  const Dropout dropout{0.25f, 5};
  oracle::Values sample, offset;
  const RowIds rows = trial.row_ids(kRows, sample, offset);
  struct Outputs {
    Operand o, lse, dq, dkv;
  };
  const auto run = [&](std::int64_t first, const Tensor& ranges_of_rows) {
    const auto part = [&](const Tensor& tensor) { return tensor.rows(first, kRows); };
    const RowIds ids{part(rows.sample), part(rows.offset)};
    const Outputs out{trial.poisoned(part(q).shape, dtype), trial.poisoned({kRows - first, 2}, DType::kF32),
                      trial.poisoned(part(q).shape, dtype), trial.poisoned(part(kv).shape, dtype)};
    trial.ops.attention_forward(trial.stream, out.o, out.lse, part(q), part(kv), ranges_of_rows, 0.2f, dropout, ids);
    if (backward)
      trial.ops.attention_backward(trial.stream, out.dq, out.dkv, part(d_o), out.o, out.lse, part(q), part(kv),
                                   ranges_of_rows, 0.2f, dropout, ids);
    return out;
  };
  const Outputs both = run(0, keys);
  const Outputs again = run(0, keys);
  const Outputs alone = run(kBefore, keys_alone);
  const auto expect = [&](const char* output, const Operand& in_both, const Operand& repeated,
                          const Operand& by_itself) {
    trial.describe("done twice");
    trial.expect_same(output, repeated, in_both);
    trial.describe("alone, and beside others");
    trial.expect_same(output, by_itself, in_both.tensor.rows(kBefore, kRows));
  };
  if (backward) {
    expect("dq", both.dq, again.dq, alone.dq);
    expect("dkv", both.dkv, again.dkv, alone.dkv);
  } else {
    expect("o", both.o, again.o, alone.o);
    expect("lse", both.lse, again.lse, alone.lse);
  }
  trial.forget();
}

void attention_forward(Trial& trial) {
  for_each_call([&](const Size& size, DType dtype, bool with_dropout) {
    const Inputs in(trial, size, dtype, with_dropout);
    const Operand o = trial.poisoned(in.q.tensor.shape, dtype);
    const Operand lse = trial.poisoned({size.rows, size.heads}, DType::kF32);
    trial.ops.attention_forward(trial.stream, o, lse, in.q, in.kv, in.keys, in.scale, in.dropout, in.rows);
    const oracle::AttentionRounding rounding = rounding_of(trial, dtype);
    const auto want = oracle::attention_forward(in.shape, in.q.values, in.kv.values, in.keys.values,
                                                static_cast<double>(in.scale), in.drop, rounding);
    trial.expect("o", o, want.o, forward_bound(in.shape) * (1 + rounding.unit), want.o_rounding);
    trial.expect("lse", lse, want.lse, forward_bound(in.shape));
    trial.forget();
  });
  for (DType dtype : kActivationTypes) a_sample_beside_others(trial, dtype, false);
}

void attention_backward(Trial& trial) {
  for_each_call([&](const Size& size, DType dtype, bool with_dropout) {
    const Inputs in(trial, size, dtype, with_dropout);
    const auto scale = static_cast<double>(in.scale);
    const oracle::AttentionRounding rounding = rounding_of(trial, dtype);
    const auto forward =
        oracle::attention_forward(in.shape, in.q.values, in.kv.values, in.keys.values, scale, in.drop, {});
    const Operand o = trial.given(in.q.tensor.shape, dtype, forward.o.value);
    const Operand lse = trial.given({size.rows, size.heads}, DType::kF32, forward.lse.value);
    const Operand d_o = trial.normal(in.q.tensor.shape, dtype);
    const Operand dq = trial.poisoned(in.q.tensor.shape, dtype);
    const Operand dkv = trial.poisoned(in.kv.tensor.shape, dtype);
    trial.ops.attention_backward(trial.stream, dq, dkv, d_o, o, lse, in.q, in.kv, in.keys, in.scale, in.dropout,
                                 in.rows);
    const auto want = oracle::attention_backward(in.shape, d_o.values, o.values, lse.values, in.q.values, in.kv.values,
                                                 in.keys.values, scale, in.drop, rounding);
    const double bound = backward_bound(in.shape) * (1 + rounding.unit);
    trial.expect("dq", dq, want.dq, bound, want.dq_rounding);
    trial.expect("dkv", dkv, want.dkv, bound, want.dkv_rounding);
    trial.forget();
  });
  for (DType dtype : kActivationTypes) a_sample_beside_others(trial, dtype, true);
}

}  // namespace

Cases attention_cases() {
  return {make_case("attention_forward", &Kernels::attention_forward, attention_forward),
          make_case("attention_backward", &Kernels::attention_backward, attention_backward)};
}

}  // namespace trireme::parity
