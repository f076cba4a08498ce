#include "tests/trainer/layout/token_terms.h"

#include <algorithm>

namespace trireme {

oracle::Tensors token_terms(const Experiment& experiment, const oracle::Tensors& parameters, const Batch& batch) {
  constexpr double kLeastShare = 1.0 / 16;
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

}  // namespace trireme
