#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/command_line/commands.h"
#include "launch/command_line/output.h"
#include "launch/config/load.h"

namespace trireme {

void add_config_command(CLI::App& program, ExitCode&) {
  struct Flags {
    std::string file;
    std::vector<std::string> overrides;
    int ranks = 0;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("config", "Check a configuration and print it whole, with what it costs");
  command->footer(
      "\nReads FILE, applies --set, fills in every default and checks it all; prints YAML that loads to the same run,\n"
      "and as comments the number of parameters, the memory a rank needs and the FLOPs of a token. Recipes to begin\n"
      "with are in launch/recipes/.");
  command->add_option("FILE", flags->file, "A configuration in YAML")->required();
  command->add_option("--set", flags->overrides, "Override a field: --set model.hidden_size=512 (may be repeated)")
      ->type_name("SECTION.FIELD=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--ranks", flags->ranks, "Check for a run of so many ranks; decides mesh.dp")
      ->check(CLI::Range(1, 1 << 20));
  command->callback([flags] {
    const std::optional<int> ranks = flags->ranks > 0 ? std::optional(flags->ranks) : std::nullopt;
    const LoadedRun loaded = load_run(flags->file, flags->overrides, ranks);
    write_output(print_run(loaded.run));
    write_output("\n" + describe_cost(loaded.run));
  });
}

}  // namespace trireme
