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
};
const char* name_of(Mask mask) {
  constexpr const char* kNames[] = {"causal", "full", "window", "cached", "some empty"};
  return kNames[static_cast<int>(mask)];
}

struct Size {
  std::int64_t rows, extra_keys, heads, kv_heads, head_size;
  Mask mask;
};
constexpr Size kSizes[] = {{1, 0, 1, 1, 1, Mask::kCausal},     {150, 0, 2, 2, 33, Mask::kCausal},
                           {75, 0, 6, 2, 64, Mask::kCausal},   {140, 0, 2, 1, 16, Mask::kFull},
                           {150, 0, 1, 1, 20, Mask::kWindow},  {1, 130, 4, 2, 24, Mask::kCached},
                           {67, 70, 3, 1, 128, Mask::kCached}, {100, 9, 2, 2, 7, Mask::kSomeEmpty},
                           {0, 5, 2, 1, 8, Mask::kCausal},     {130, 0, 1, 1, 32, Mask::kCausal}};
constexpr std::int64_t kDocument = 70;

oracle::Values ranges_of(const Size& size) {
  oracle::Values ranges;
  for (std::int64_t r = 0; r < size.rows; ++r) {
    const std::int64_t document = r / kDocument * kDocument;
    std::int64_t begin = document;
    std::int64_t end = r + 1;
    if (size.mask == Mask::kFull) end = std::min(size.rows, document + kDocument);
    if (size.mask == Mask::kWindow) begin = std::max<std::int64_t>(0, r - 19);
    if (size.mask == Mask::kCached) begin = 0, end = size.extra_keys + r + 1;
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

bool may_drop(const Size& size) { return size.extra_keys == 0; }

// The exponent: D products, their sum, the maximum taken off; then exp (1 ulp), at most K additions twice over (sum and
// o), a rescaling for each 64 keys, a division: at most D + 2 K + K / 64 + 8 roundings of what the terms say.
double forward_bound(const oracle::AttentionShape& shape) {
  return static_cast<double>(shape.head_size + 2 * shape.keys + shape.keys / 64 + 8);
}
// The exponent as before; dp and delta sum D products, dq at most K of these, dkv at most R H.
double backward_bound(const oracle::AttentionShape& shape) {
  return static_cast<double>(3 * shape.head_size + std::max(shape.keys, shape.rows * shape.heads) + 12);
}

void attention_forward(Trial& trial) {
  for (const Size& size : kSizes)
    for (DType dtype : kActivationTypes)
      for (bool with_dropout : {false, true}) {
        if (with_dropout && !may_drop(size)) continue;
        const Inputs in(trial, size, dtype, with_dropout);
        const Operand o = trial.poisoned(in.q.tensor.shape, dtype);
        const Operand lse = trial.poisoned({size.rows, size.heads}, DType::kF32);
        trial.ops.attention_forward(trial.stream, o, lse, in.q, in.kv, in.keys, in.scale, in.dropout, in.rows);
        const auto want = oracle::attention_forward(in.shape, in.q.values, in.kv.values, in.keys.values,
                                                    static_cast<double>(in.scale), in.drop);
        trial.expect("o", o, want.o, forward_bound(in.shape));
        trial.expect("lse", lse, want.lse, forward_bound(in.shape));
        trial.forget();
      }
}

void attention_backward(Trial& trial) {
  for (const Size& size : kSizes)
    for (DType dtype : kActivationTypes)
      for (bool with_dropout : {false, true}) {
        if (with_dropout && !may_drop(size)) continue;
        const Inputs in(trial, size, dtype, with_dropout);
        const auto scale = static_cast<double>(in.scale);
        const auto forward =
            oracle::attention_forward(in.shape, in.q.values, in.kv.values, in.keys.values, scale, in.drop);
        const Operand o = trial.given(in.q.tensor.shape, dtype, forward.o.value);
        const Operand lse = trial.given({size.rows, size.heads}, DType::kF32, forward.lse.value);
        const Operand d_o = trial.normal(in.q.tensor.shape, dtype);
        const Operand dq = trial.poisoned(in.q.tensor.shape, dtype);
        const Operand dkv = trial.poisoned(in.kv.tensor.shape, dtype);
        trial.ops.attention_backward(trial.stream, dq, dkv, d_o, o, lse, in.q, in.kv, in.keys, in.scale, in.dropout,
                                     in.rows);
        const auto want = oracle::attention_backward(in.shape, d_o.values, o.values, lse.values, in.q.values,
                                                     in.kv.values, in.keys.values, scale, in.drop);
        trial.expect("dq", dq, want.dq, backward_bound(in.shape));
        trial.expect("dkv", dkv, want.dkv, backward_bound(in.shape));
        trial.forget();
      }
}

}  // namespace

Cases attention_cases() {
  return {make_case("attention_forward", &Kernels::attention_forward, attention_forward),
          make_case("attention_backward", &Kernels::attention_backward, attention_backward)};
}

}  // namespace trireme::parity
