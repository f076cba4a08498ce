#include <array>
#include <cmath>
#include <utility>

#include "launch/config/fields.h"
#include "launch/config/problems.h"

namespace trireme {
namespace {

constexpr double kMany = 1e15;  // of steps or tokens: more than any run, and still a whole number in a double

// Upper bounds keep every product of sizes within 64 bits; lower ones are what the arithmetic can stand.
constexpr std::array kRanges = {
    std::pair{"run.seed", Range{0, 18446744073709551616.0}},
    std::pair{"run.threads", Range{1, 4096}},
    std::pair{"model.layers", Range{1, 4096}},
    std::pair{"model.hidden_size", Range{1, 1 << 20}},
    std::pair{"model.heads", Range{1, 1 << 16}},
    std::pair{"model.kv_heads", Range{1, 1 << 16}},
    std::pair{"model.head_dim", Range{1, 1 << 14}},
    std::pair{"model.ffn_size", Range{1, 1 << 22}},
    std::pair{"model.vocab_size", Range{1, 1 << 24}},
    std::pair{"model.sequence_length", Range{1, 1 << 24}},
    std::pair{"model.norm_epsilon", Range{0, 1, true, false}},
    std::pair{"model.rope_theta", Range{1, 1e12}},
    std::pair{"model.init_std", Range{0, 10}},
    std::pair{"model.dropout", Range{0, 1, false, true}},
    std::pair{"model.attention_dropout", Range{0, 1, false, true}},
    std::pair{"train.steps", Range{1, kMany}},
    std::pair{"train.tokens", Range{1, kMany}},
    std::pair{"train.global_batch", Range{1, 1 << 24}},
    std::pair{"train.micro_batch", Range{1, 1 << 20}},
    std::pair{"train.exact_groups", Range{1, 1 << 20}},
    std::pair{"train.label_smoothing", Range{0, 1, false, true}},
    std::pair{"train.z_loss", Range{0, 1}},
    std::pair{"train.loss_chunk_rows", Range{1, 1 << 20}},
    std::pair{"optimizer.learning_rate", Range{0, 100, true, false}},
    std::pair{"optimizer.min_learning_rate", Range{0, 100}},
    std::pair{"optimizer.warmup_steps", Range{0, kMany}},
    std::pair{"optimizer.decay_fraction", Range{0, 1}},
    std::pair{"optimizer.beta1", Range{0, 1, false, true}},
    std::pair{"optimizer.beta2", Range{0, 1, false, true}},
    std::pair{"optimizer.epsilon", Range{0, 1, true, false}},
    std::pair{"optimizer.weight_decay", Range{0, 100}},
    std::pair{"optimizer.clip_norm", Range{0, 1e12}},
    std::pair{"checkpoint.every", Range{0, kMany}},
    std::pair{"checkpoint.keep_last", Range{1, 1 << 20}},
    std::pair{"checkpoint.keep_every", Range{0, kMany}},
    std::pair{"validation.every", Range{0, kMany}},
    std::pair{"validation.max_samples", Range{0, kMany}},
    std::pair{"mesh.dp", Range{1, 1 << 20}},
    std::pair{"mesh.pp", Range{1, 4096}},
    std::pair{"mesh.cp", Range{1, 4096}},
    std::pair{"mesh.tp", Range{1, 4096}},
    std::pair{"mesh.ep", Range{1, 4096}},
    std::pair{"zero.stage", Range{0, 3}},
    std::pair{"pipeline.chunks", Range{1, 1024}},
    std::pair{"loss_scale.initial", Range{0x1p-24, 0x1p60}},
    std::pair{"loss_scale.growth_interval", Range{1, kMany}},
    std::pair{"loss_scale.growth_factor", Range{1, 0x1p16}},
    std::pair{"loss_scale.backoff_factor", Range{0x1p-16, 1, false, true}},
    std::pair{"loss_scale.min", Range{0x1p-24, 0x1p60}},
    std::pair{"monitoring.port", Range{0, 65535}},
    std::pair{"monitoring.trace_steps", Range{0, 1 << 20}},
};

std::string bound_text(double value) {
  config::Run scratch;  // prints a double as the configuration does: 1048576, not 1.04858e+06
  const Field& any = *find_field("optimizer.clip_norm");
  scratch.mutable_optimizer()->set_clip_norm(value);
  const std::string text = value_text(scratch, any);
  return std::abs(value) < 1e15 && value == std::floor(value) ? std::to_string(static_cast<long long>(value)) : text;
}

}  // namespace

const Range* range_of(std::string_view path) {
  for (const auto& [name, range] : kRanges) {
    if (path == name) return &range;
  }
  return nullptr;
}

std::string out_of_range(const config::Run& run, const Field& field) {
  const Range* range = range_of(field.path);
  if (!range) return "";
  const std::string text = value_text(run, field);
  const double value = std::stod(text);
  if (range->open_low ? value <= range->low : value < range->low) {
    return text + " is too small; it must be " + (range->open_low ? "more than " : "at least ") +
           bound_text(range->low);
  }
  if (range->open_high ? value >= range->high : value > range->high) {
    return text + " is too large; it must be " + (range->open_high ? "less than " : "at most ") +
           bound_text(range->high);
  }
  return "";
}

}  // namespace trireme
