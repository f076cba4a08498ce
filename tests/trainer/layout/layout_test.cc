// The claim of the whole program: whatever the layout, every gradient and the loss are those of one rank. Random models
// on random layouts, as threads, against the same step on one rank; the bound on a gradient comes from the fp64 model,
// token by token. (One rank is itself held against the fp64 model and PyTorch, in model/.)
#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <iostream>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "tests/trainer/layout/drawn_layout.h"
#include "tests/trainer/small_model.h"
#include "trainer/verify/trial.h"

namespace trireme {
namespace {

constexpr double kRoundings = 2048;
constexpr double kUnit = 0x1p-24;
// Of the tensor's largest term, what an element has at least: softmax makes a row's gradient of scores as a difference
// of nearly equal numbers, so what a row gives to K may be all rounding, of numbers as large as those that V gets.
constexpr double kLeastShare = 1.0 / 16;

// Of each element of each gradient, the sum over tokens of |what the token gives to it|, in fp64. A row of an embedding
// may have been used by a single token, whose own sum over columns cancels in one of them: there the row's largest
// stands for all of it.
oracle::Tensors token_terms(const Experiment& experiment, const WholeTensors& weights) {
  oracle::Tensors parameters;
  for (const auto& [name, values] : weights) parameters[name].assign(values.begin(), values.end());
  const Batch batch = trial_batch(experiment.model, {0, experiment.train.global_batch()});
  oracle::Tensors terms =
      oracle::run(decoder_of(experiment), parameters, tokens_of(batch), experiment.seed, oracle::Mode::kTraining).terms;
  for (auto& [name, values] : terms)
    if (name.starts_with("embedding."))
      for (auto row = values.begin(); row != values.end(); row += experiment.model.hidden_size())
        std::fill_n(row, experiment.model.hidden_size(), *std::max_element(row, row + experiment.model.hidden_size()));
  for (auto& [name, values] : terms) {
    std::string with_values = name;
    if (const std::size_t q = name.find(".attention.q."); q != std::string::npos)
      with_values.replace(q, 13, ".attention.kv.");
    const std::vector<double>& largest = terms.at(with_values);
    const double least = kLeastShare * *std::max_element(largest.begin(), largest.end());
    for (double& value : values) value = std::max(value, least);
  }
  return terms;
}

// "" or what is wrong.
std::string same_bits(const std::string& what, const WholeTensors& one, const WholeTensors& many) {
  for (const auto& [name, values] : one)
    for (std::size_t i = 0; i < values.size(); ++i)
      if (std::bit_cast<std::uint32_t>(values[i]) != std::bit_cast<std::uint32_t>(many.at(name).at(i)))
        return fmt::format("{} of {}[{}]: {} on one rank, {} on the layout", what, name, i, values[i],
                           many.at(name)[i]);
  return "";
}

std::string within_bounds(const DrawnLayout& drawn, const Trial& one, const Trial& many, double& nearest) {
  const oracle::Tensors terms = token_terms(drawn.experiment, one.weights);
  double norm_bound = 0;
  for (const auto& [name, values] : one.gradients[0])
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double bound = kRoundings * kUnit * terms.at(name).at(i);
      const double off = std::abs(static_cast<double>(values[i]) - many.gradients[0].at(name).at(i));
      norm_bound += bound * bound;
      if (bound > 0) nearest = std::max(nearest, off / bound);
      if (!(off <= bound))
        return fmt::format("gradient of {}[{}]: {} on one rank, {} on the layout, {:.3g} apart where {:.3g} is allowed",
                           name, i, values[i], many.gradients[0].at(name)[i], off, bound);
    }
  if (!(std::abs(one.norms[0] - many.norms[0]) <= std::sqrt(norm_bound)))
    return fmt::format("norm {} on one rank, {} on the layout", one.norms[0], many.norms[0]);
  if (!(std::abs(one.losses[0] - many.losses[0]) <= kRoundings * kUnit * one.losses[0]))
    return fmt::format("loss {} on one rank, {} on the layout", one.losses[0], many.losses[0]);
  return "";
}

// "" or what is wrong.
std::string check_layout(const DrawnLayout& drawn, const TrialSeams* seams, double& nearest) {
  Experiment experiment = drawn.experiment;
  const bool exact = experiment.numerics == config::exact;
  // In fast numerics the weights stay as they are: those at which the fp64 model is asked.
  if (!exact) {
    experiment.optimizer.set_learning_rate(0);
    experiment.optimizer.set_min_learning_rate(0);
  }
  const int steps = exact ? 2 : 1;
  const Trial one = run_trial(experiment, {}, {.steps = steps, .micro_batch = experiment.train.global_batch()});
  if (!one.problems.empty()) return "one rank: " + one.problems[0];
  const Trial many = run_trial(experiment, drawn.layout,
                               {.steps = steps, .micro_batch = drawn.micro_batch, .scratch = {}, .seams = seams});
  if (!many.problems.empty()) return many.problems[0];
  if (!exact) return within_bounds(drawn, one, many, nearest);
  for (std::size_t step = 0; step < one.losses.size(); ++step) {
    if (one.losses[step] != many.losses[step] || one.norms[step] != many.norms[step])
      return fmt::format("step {}: loss {} and norm {} on one rank, {} and {} on the layout", step + 1,
                         one.losses[step], one.norms[step], many.losses[step], many.norms[step]);
    const std::string wrong =
        same_bits(fmt::format("step {}'s gradient", step + 1), one.gradients[step], many.gradients[step]);
    if (!wrong.empty()) return wrong;
  }
  return same_bits("weight", one.weights, many.weights);
}

// As rc::check, with this many cases unless RC_PARAMS asks for another number.
void check_cases(int cases, const std::function<void()>& property) {
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  if (params.maxSuccess == rc::detail::TestParams().maxSuccess) params.maxSuccess = cases;
  const auto result = rc::detail::checkTestable(property, rc::detail::TestMetadata(), params);
  rc::detail::printResultMessage(result, std::cerr);
  EXPECT_TRUE(result.template is<rc::detail::SuccessResult>());
}

TEST(Layout, IsNotPartOfTheExperiment) {
  Coverage coverage;
  double nearest = 0;
  check_cases(300, [&] {
    const DrawnLayout drawn = *draw_layout(8);
    coverage.add(drawn);
    const std::string wrong = check_layout(drawn, nullptr, nearest);
    if (!wrong.empty()) RC_FAIL(wrong);
  });
  std::cout << coverage.table() << "the gradient nearest to its bound: " << nearest << " of it\n";
  for (const std::string& what : coverage.missing()) ADD_FAILURE() << "never drawn: " << what;
}

}  // namespace
}  // namespace trireme
