#include "parallel/pipeline/recomputation.h"

#include <algorithm>
#include <utility>

#include "monitoring/check.h"

namespace trireme {

Recomputation::Recomputation(std::vector<config::Recompute> choices) : choices_(std::move(choices)) {
  CHECK(!choices_.empty(), "no choice of recomputation");
  if (std::all_of(choices_.begin(), choices_.end(), [&](config::Recompute each) { return each == choices_.front(); }))
    choices_.resize(1);
}

config::Recompute Recomputation::of(int rank) const {
  if (choices_.size() == 1) return choices_.front();
  CHECK(rank >= 0 && static_cast<std::size_t>(rank) < choices_.size(), "a choice of recomputation for rank ", rank,
        " of the pipeline, of ", choices_.size());
  return choices_[static_cast<std::size_t>(rank)];
}

Recomputation Recomputation::over(int ranks) const {
  if (fits(ranks)) return *this;
  const auto size = static_cast<std::size_t>(ranks);
  std::vector<config::Recompute> different;  // in the order in which they come first
  for (const config::Recompute each : choices_)
    if (std::find(different.begin(), different.end(), each) == different.end()) different.push_back(each);
  while (different.size() > size) different.erase(std::min_element(different.begin(), different.end()));
  different.resize(size, choices_.back());
  return Recomputation(std::move(different));
}

std::string to_string(const Recomputation& recomputation) {
  const std::vector<config::Recompute>& choices = recomputation.choices();
  if (choices.size() == 1) return config::Recompute_Name(choices.front());
  std::string text;
  for (const config::Recompute each : choices) text += (text.empty() ? "[" : ", ") + config::Recompute_Name(each);
  return text + "]";
}

}  // namespace trireme
