#include "launch/command_line/configuration_flags.h"

#include <optional>

namespace trireme {

Flag ConfigurationFlags::add(Command& command, const std::string& example) {
  Flag option = command.option("FILE", file, "A configuration in YAML");
  command.option("--set", overrides, "Override a field: --set " + example + " (may be repeated)")
      .value_name("SECTION.FIELD=VALUE")
      .one_a_time();
  return option;
}

void ConfigurationFlags::add_ranks(Command& command, const std::string& description) {
  command.option("--ranks", ranks, description).between(1, 1 << 20);
}

LoadedRun ConfigurationFlags::load() const {
  return load_run(file, overrides, ranks > 0 ? std::optional(ranks) : std::nullopt);
}

}  // namespace trireme
