#include "tests/trainer/layout/one_rank.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "tests/trainer/layout/token_terms.h"

namespace trireme {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr int kSteps = 2;  // what the first leaves behind shows in the second

// Of each step, at the weights of a one-rank trial.
std::vector<oracle::Tensors> terms_of(const Experiment& experiment, const WholeTensors& weights) {
  oracle::Tensors parameters;
  for (const auto& [name, values] : weights) parameters[name].assign(values.begin(), values.end());
  std::vector<oracle::Tensors> terms;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const std::int64_t begin = step * experiment.train.global_batch();
    const SampleRange samples{begin, begin + experiment.train.global_batch()};
    terms.push_back(token_terms(experiment, parameters, trial_batch(experiment.model, samples)));
  }
  return terms;
}

// "" or what is wrong.
std::string same_bits_of(const std::string& what, const WholeTensors& one, const WholeTensors& many) {
  for (const auto& [name, values] : one)
    for (std::size_t i = 0; i < values.size(); ++i)
      if (std::bit_cast<std::uint32_t>(values[i]) != std::bit_cast<std::uint32_t>(many.at(name).at(i)))
        return fmt::format("{} of {}[{}]: {} on one rank, {} on the layout", what, name, i, values[i],
                           many.at(name)[i]);
  return "";
}

std::string same_bits(const Trial& alone, const Trial& many) {
  for (std::size_t step = 0; step < alone.losses.size(); ++step) {
    if (alone.losses[step] != many.losses[step] || alone.norms[step] != many.norms[step])
      return fmt::format("step {}: loss {} and norm {} on one rank, {} and {} on the layout", step + 1,
                         alone.losses[step], alone.norms[step], many.losses[step], many.norms[step]);
    const std::string wrong =
        same_bits_of(fmt::format("step {}'s gradient", step + 1), alone.gradients[step], many.gradients[step]);
    if (!wrong.empty()) return wrong;
  }
  if (alone.validation_loss != many.validation_loss)
    return fmt::format("validation loss {} on one rank, {} on the layout", alone.validation_loss, many.validation_loss);
  return same_bits_of("weight", alone.weights, many.weights);
}

}  // namespace

OneRank::OneRank(const DrawnLayout& drawn) : drawn_(drawn), experiment_(drawn.experiment) {
  if (experiment_.numerics == config::fast) {
    experiment_.optimizer.set_learning_rate(0);
    experiment_.optimizer.set_min_learning_rate(0);
  }
}

TrialOptions OneRank::options(const TrialSeams* seams) const {
  return {.steps = kSteps, .micro_batch = drawn_.micro_batch, .scratch = {}, .seams = seams, .host = {}};
}

std::string OneRank::wrong_with(const Trial& many) {
  if (!alone_) {
    TrialOptions whole = options();
    whole.micro_batch = experiment_.train.global_batch();
    alone_ = run_trial(experiment_, {}, whole);
  }
  if (!alone_->problems.empty()) return "one rank: " + alone_->problems[0];
  if (!many.problems.empty()) return many.problems[0];
  return experiment_.numerics == config::exact ? same_bits(*alone_, many) : within_bounds(*alone_, many);
}

std::string OneRank::within_bounds(const Trial& alone, const Trial& many) {
  if (terms_.empty()) terms_ = terms_of(experiment_, alone.weights);
  for (std::size_t step = 0; step < terms_.size(); ++step) {
    double norm_bound = 0;
    for (const auto& [name, values] : alone.gradients[step])
      for (std::size_t i = 0; i < values.size(); ++i) {
        const float other = many.gradients[step].at(name)[i];
        const double bound = kRoundings * kUnit * terms_[step].at(name).at(i);
        const double off = std::abs(static_cast<double>(values[i]) - other);
        norm_bound += bound * bound;
        if (!(off <= bound))
          return fmt::format(
              "step {}'s gradient of {}[{}]: {} on one rank, {} on the layout, {:.3g} apart where {:.3g} is allowed",
              step + 1, name, i, values[i], other, off, bound);
        if (bound > 0) nearest_ = std::max(nearest_, off / bound);
      }
    if (!(std::abs(alone.norms[step] - many.norms[step]) <= std::sqrt(norm_bound)))
      return fmt::format("step {}'s norm {} on one rank, {} on the layout", step + 1, alone.norms[step],
                         many.norms[step]);
    if (!(std::abs(alone.losses[step] - many.losses[step]) <= kRoundings * kUnit * alone.losses[step]))
      return fmt::format("step {}'s loss {} on one rank, {} on the layout", step + 1, alone.losses[step],
                         many.losses[step]);
  }
  if (!(std::abs(alone.validation_loss - many.validation_loss) <= kRoundings * kUnit * alone.validation_loss))
    return fmt::format("validation loss {} on one rank, {} on the layout", alone.validation_loss, many.validation_loss);
  return "";
}

}  // namespace trireme
