#include "tests/gpu/execute/coverage.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "tests/gpu/execute/launch.h"

namespace trireme::gpu {
namespace {

std::set<std::string>& names() {
  static std::set<std::string> exercised_names;
  return exercised_names;
}

constexpr const char* kTestedModels =
#include "tests/gpu/execute/tested_models.inc"
    ;

}  // namespace

const std::vector<std::string>& tested_models() {
  static const std::vector<std::string> sorted = [] {
    std::istringstream words(kTestedModels);
    std::set<std::string> unique;
    for (std::string word; words >> word;) unique.insert(word);
    return std::vector<std::string>(unique.begin(), unique.end());
  }();
  return sorted;
}

std::vector<std::string> untested(const Module& module) {
  std::vector<std::string> missing;
  const auto& tested = tested_models();
  for (const auto& name : models(module)) {
    if (!std::binary_search(tested.begin(), tested.end(), name)) missing.push_back(name);
  }
  return missing;
}

void record_exercised(const std::string& name) { names().insert(name); }

std::vector<std::string> exercised() { return {names().begin(), names().end()}; }

}  // namespace trireme::gpu
