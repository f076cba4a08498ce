#include "launch/config/load.h"

#include "launch/config/problems.h"
#include "launch/config/resolve.h"
#include "launch/config/validate.h"
#include "launch/config/yaml_tree.h"
#include "monitoring/read_file.h"

namespace trireme {

LoadedRun load_run(const std::string& file, const std::vector<std::string>& overrides, std::optional<int> ranks) {
  return load_run_text(read_file(file, kMaxConfigurationBytes), file, overrides, ranks);
}

LoadedRun load_run_text(const std::string& text, const std::string& file, const std::vector<std::string>& overrides,
                        std::optional<int> ranks) {
  LoadedRun loaded{{}, Sources(file)};
  Problems problems;
  loaded.run = read_run(text, loaded.sources, problems);
  for (const std::string& assignment : overrides) apply_override(assignment, loaded.run, loaded.sources, problems);
  resolve(loaded.run, ranks, loaded.sources, problems);
  validate(loaded.run, ranks, loaded.sources, problems);
  problems.throw_if_any();
  return loaded;
}

void check_plannable(const LoadedRun& loaded) {
  Problems problems;
  check_implemented(loaded.run, loaded.sources, problems);
  problems.throw_if_any();
}

void check_runnable_here(const LoadedRun& loaded) {
  Problems problems;
  check_trainable(loaded.run, loaded.sources, problems);
  problems.throw_if_any();
}

}  // namespace trireme
