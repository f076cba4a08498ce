#include "trainer/verify/verify.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "monitoring/error.h"
#include "trainer/optim/learning_rate.h"
#include "trainer/verify/contributions.h"

namespace trireme {
namespace {

Compared compare_numbers(std::string what, double one, double many, double bound) {
  const double difference = std::abs(one - many);
  return {.what = std::move(what), .difference = difference, .bound = bound, .agrees = difference <= bound};
}

// The element that is farthest beyond its bound, or else the one that differs most.
template <class BoundOf>
Compared compare_tensors(std::string what, const std::vector<float>& one, const std::vector<float>& many,
                         BoundOf bound_of) {
  Compared worst{.what = std::move(what)};
  if (one.size() != many.size()) {
    worst.agrees = false;
    worst.difference = INFINITY;
    return worst;
  }
  double worst_excess = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(one[i]) == std::bit_cast<std::uint32_t>(many[i])) continue;
    const double bound = bound_of(i);
    const double difference = std::abs(static_cast<double>(one[i]) - many[i]);
    const bool agrees = bound > 0 && difference <= bound;  // a NaN agrees with nothing
    const double excess = bound > 0 ? difference / bound : INFINITY;
    if (worst.element >= 0 && agrees && !(excess > worst_excess)) continue;
    if (worst.element >= 0 && !worst.agrees && (agrees || !(excess > worst_excess))) continue;
    worst_excess = excess;
    worst.difference = difference;
    worst.bound = bound;
    worst.element = static_cast<std::int64_t>(i);
    worst.agrees = worst.agrees && agrees;
  }
  return worst;
}

const std::vector<float>& tensor_of(const WholeTensors& tensors, const std::string& name) {
  static const std::vector<float> none;
  const auto found = tensors.find(name);
  return found == tensors.end() ? none : found->second;
}

double zero(std::size_t) { return 0; }

std::vector<Compared> compare_bits(const Trial& one, const Trial& many) {
  std::vector<Compared> rows;
  for (std::size_t step = 0; step < one.losses.size(); ++step) {
    for (const auto& [name, values] : one.gradients[step])
      rows.push_back(compare_tensors(fmt::format("gradient of {}, step {}", name, step + 1), values,
                                     tensor_of(many.gradients[step], name), zero));
    rows.push_back(compare_numbers(fmt::format("loss of step {}", step + 1), one.losses[step], many.losses[step], 0));
    rows.push_back(
        compare_numbers(fmt::format("gradient norm of step {}", step + 1), one.norms[step], many.norms[step], 0));
  }
  for (const auto& [name, values] : one.weights)
    rows.push_back(compare_tensors(fmt::format("weights of {} after step {}", name, one.losses.size()), values,
                                   tensor_of(many.weights, name), zero));
  rows.push_back(compare_numbers("validation loss", one.validation_loss, many.validation_loss, 0));
  for (const auto& [name, digest] : one.files) {
    const auto found = many.files.find(name);
    rows.push_back({.what = "checkpoint's " + name, .agrees = found != many.files.end() && found->second == digest});
  }
  for (const auto& [name, digest] : many.files)
    if (!one.files.contains(name)) rows.push_back({.what = "checkpoint's " + name, .agrees = false});
  return rows;
}

// The experiment whose training loss is what validation computes.
Experiment as_validated(Experiment experiment) {
  experiment.model.set_dropout(0);
  experiment.model.set_attention_dropout(0);
  experiment.train.set_label_smoothing(0);
  experiment.train.set_z_loss(0);
  return experiment;
}

// Of each step's samples, and last of those that are validated on.
std::vector<WholeTensors> all_contributions(const Experiment& experiment, int steps) {
  std::vector<WholeTensors> contributions;
  const std::int64_t batch = experiment.train.global_batch();
  for (std::int64_t begin = 0; begin < steps * batch; begin += batch)
    contributions.push_back(token_contributions(experiment, {begin, begin + batch}));
  contributions.push_back(token_contributions(as_validated(experiment), validation_samples(experiment, steps)));
  return contributions;
}

// Gradients and the norm of the first step; every loss; the last weights. What one step's rounding does to later ones
// goes through AdamW, whose update moves by at most 2 / epsilon of what the gradient moves.
std::vector<Compared> compare_within_bounds(const Trial& one, const Trial& many, const Experiment& experiment,
                                            const std::vector<WholeTensors>& contributions) {
  const double unit = kGradientRoundings * kUnitRoundoff;
  std::vector<Compared> rows;
  double norm_bound = 0;
  for (const auto& [name, values] : one.gradients[0]) {
    const std::vector<float>& terms = contributions[0].at(name);
    rows.push_back(compare_tensors(fmt::format("gradient of {}, step 1", name), values,
                                   tensor_of(many.gradients[0], name), [&](std::size_t i) { return unit * terms[i]; }));
    for (const float term : terms) norm_bound += (unit * term) * (unit * term);
  }
  rows.push_back(compare_numbers("gradient norm of step 1", one.norms[0], many.norms[0], std::sqrt(norm_bound)));

  const std::size_t steps = one.losses.size();
  WholeTensors weight_bounds;
  double loss_bound = 0;
  for (std::size_t step = 0; step < steps; ++step) {
    rows.push_back(compare_numbers(fmt::format("loss of step {}", step + 1), one.losses[step], many.losses[step],
                                   unit * std::abs(one.losses[step]) + loss_bound));
    const double rate =
        learning_rate(experiment.optimizer, static_cast<std::int64_t>(step), static_cast<std::int64_t>(steps));
    loss_bound = 0;
    for (const auto& [name, terms] : contributions[step]) {
      std::vector<float>& bounds = weight_bounds[name];
      const std::vector<float>& weights = one.weights.at(name);
      bounds.resize(terms.size());
      for (std::size_t i = 0; i < terms.size(); ++i) {
        bounds[i] += static_cast<float>(rate * 2 / experiment.optimizer.epsilon() * unit * terms[i] +
                                        8 * kUnitRoundoff * std::abs(weights[i]));
        loss_bound += static_cast<double>(contributions[step + 1].at(name)[i]) * bounds[i];
      }
    }
  }
  rows.push_back(compare_numbers("validation loss", one.validation_loss, many.validation_loss,
                                 unit * std::abs(one.validation_loss) + loss_bound));
  for (const auto& [name, values] : one.weights)
    rows.push_back(compare_tensors(fmt::format("weights of {} after step {}", name, steps), values,
                                   tensor_of(many.weights, name),
                                   [&bounds = weight_bounds.at(name)](std::size_t i) { return bounds[i]; }));
  return rows;
}

}  // namespace

bool promises_bits(const Experiment& experiment, const Layout& layout) {
  return experiment.numerics == config::exact && layout.mesh.tp == 1 && layout.mesh.cp == 1 && layout.mesh.ep == 1;
}

Reference::Reference(const Experiment& experiment, int steps, std::filesystem::path scratch, const TrialSeams* seams,
                     TrialProcesses* processes)
    : experiment_(experiment), steps_(steps), scratch_(std::move(scratch)), seams_(seams), processes_(processes) {
  if (!leads()) return;
  alone_ = run_trial(experiment_, {}, options(experiment.train.global_batch(), nullptr));
  if (!alone_.problems.empty()) throw UserError("one rank alone does not get through: " + alone_.problems.front());
  std::filesystem::remove_all(folder());
}

TrialOptions Reference::options(std::int64_t micro_batch, const TrialSeams* seams) const {
  return {.steps = steps_, .micro_batch = micro_batch, .scratch = folder(), .seams = seams};
}

Verification Reference::verify(const Layout& layout, std::int64_t micro_batch) const {
  const TrialOptions how = options(micro_batch, seams_);
  Verification verification;
  if (processes_ == nullptr) {
    verification = compare(layout, run_trial(experiment_, layout, how));
  } else {
    const Trial many = processes_->run(experiment_, layout, how);
    if (leads()) verification = compare(layout, many);
    verification.agrees = processes_->word(verification.agrees ? "agrees" : "differs", "what was compared") == "agrees";
  }
  if (leads()) std::filesystem::remove_all(folder());
  return verification;
}

Verification Reference::compare(const Layout& layout, const Trial& many) const {
  Verification verification{.compared = {}, .problems = many.problems, .agrees = many.problems.empty()};
  if (many.gradients.empty() || many.gradients[0].empty()) return verification;  // its ranks did not get there
  if (promises_bits(experiment_, layout)) {
    verification.compared = compare_bits(alone_, many);
  } else {
    if (contributions_.empty()) contributions_ = all_contributions(experiment_, steps_);
    verification.compared = compare_within_bounds(alone_, many, experiment_, contributions_);
  }
  for (const Compared& row : verification.compared) verification.agrees &= row.agrees;
  return verification;
}

std::vector<Suspect> suspects(const Layout& layout, std::int64_t micro_batch) {
  std::vector<Suspect> found;
  const auto add = [&](const std::string& name, int value, int plain, const std::function<void(Layout&)>& remove) {
    if (value == plain) return;
    Layout without = layout;
    remove(without);
    found.push_back({fmt::format("{} = {}", name, value), without, micro_batch});
  };
  add("mesh.dp", layout.mesh.dp, 1, [](Layout& of) { of.mesh.dp = 1; });
  add("mesh.pp", layout.mesh.pp, 1, [](Layout& of) {
    of.mesh.pp = of.chunks = 1;
    of.recompute = of.recompute.over(1);
  });
  add("mesh.tp", layout.mesh.tp, 1, [](Layout& of) { of.mesh.tp = 1; });
  add("zero.stage", layout.zero_stage, 0, [](Layout& of) { of.zero_stage = 0; });
  add("pipeline.chunks", layout.chunks, 1, [](Layout& of) { of.chunks = 1; });
  if (layout.recompute.any()) {
    found.push_back({"recompute: " + to_string(layout.recompute), layout, micro_batch});
    found.back().without.recompute = {};
  }
  return found;
}

std::vector<std::string> find_culprits(const Reference& reference, const Layout& layout, std::int64_t micro_batch) {
  std::vector<std::string> culprits;
  for (const Suspect& suspect : suspects(layout, micro_batch))
    if (reference.verify(suspect.without, suspect.micro_batch).agrees) culprits.push_back(suspect.name);
  return culprits;
}

}  // namespace trireme
