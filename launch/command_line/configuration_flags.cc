#include "launch/command_line/configuration_flags.h"

#include <optional>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

namespace trireme {

CLI::Option* ConfigurationFlags::add(CLI::App& command, const std::string& example) {
  CLI::Option* option = command.add_option("FILE", file, "A configuration in YAML");
  command.add_option("--set", overrides, "Override a field: --set " + example + " (may be repeated)")
      ->type_name("SECTION.FIELD=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  return option;
}

void ConfigurationFlags::add_ranks(CLI::App& command, const std::string& description) {
  command.add_option("--ranks", ranks, description)->check(CLI::Range(1, 1 << 20));
}

LoadedRun ConfigurationFlags::load() const {
  return load_run(file, overrides, ranks > 0 ? std::optional(ranks) : std::nullopt);
}

}  // namespace trireme
