#include <memory>
#include <string>
#include <vector>

#include "launch/command_line/commands.h"
#include "launch/command_line/configuration_flags.h"
#include "launch/command_line/output.h"

namespace trireme {

void add_config_command(Command& program, ExitCode&) {
  auto flags = std::make_shared<ConfigurationFlags>();
  Command command = program.subcommand("config", "Check a configuration and print it whole, with what it costs");
  command.footer(
      "\nReads FILE, applies --set, fills in every default and checks it all; prints YAML that loads to the same run,\n"
      "and as comments the number of parameters, the memory a rank needs and the FLOPs of a token. Recipes to begin\n"
      "with are in launch/recipes/.");
  flags->add(command, "model.hidden_size=512").required();
  flags->add_ranks(command, "Check for a run of so many ranks; decides mesh.dp");
  command.runs([flags] {
    const LoadedRun loaded = flags->load();
    write_output(print_run(loaded.run));
    write_output("\n" + describe_cost(loaded.run));
  });
}

}  // namespace trireme
