#include <memory>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/command_line/commands.h"
#include "launch/command_line/configuration_flags.h"
#include "launch/command_line/output.h"
#include "launch/config/problems.h"
#include "launch/verify/verify_run.h"

namespace trireme {
namespace {

struct Flags : ConfigurationFlags {
  std::string plant;
  bool list_plants = false;
};

const Plant& plant_named(std::span<const Plant> plants, const std::string& name) {
  std::vector<std::string> names;
  for (const Plant& plant : plants) {
    if (plant.name == name) return plant;
    names.push_back(plant.name);
  }
  const std::string nearest = nearest_name(name, names);
  throw UserError(quote_text(name) + " is no plant" + (nearest.empty() ? "; " : ", did you mean " + nearest + "? ") +
                  "--list-plants lists them");
}

}  // namespace

void add_verify_command(CLI::App& program, ExitCode& exit_code, std::span<const Plant> plants) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      program.add_subcommand("verify", "Prove that a configuration's layout does not change what it learns");
  command->footer(
      "\nShrinks FILE, keeping the shape of its layout, and runs it on one rank and on the layout, as threads of this\n"
      "process. Every gradient, the norm, the loss, the weights after 3 steps and the checkpoint's bytes are "
      "compared:\n"
      "bit for bit in exact numerics (all but tp), within derived bounds otherwise. What differs is named, with the "
      "axis\n"
      "without which it does not. Exit codes: 0 it agrees; 1 it differs; 2 a mistake in FILE.");
  CLI::Option* file = flags->add(*command, "mesh.tp=4");
  flags->add_ranks(*command, "Of a run of so many ranks; decides mesh.dp");
  if (plants.empty()) {
    file->required();
  } else {
    command->add_option("--plant", flags->plant, "Plant this mistake in the layout's run");
    command->add_flag("--list-plants", flags->list_plants, "List the mistakes that can be planted");
  }
  command->callback([flags, plants, &exit_code] {
    if (flags->list_plants) {
      for (const Plant& plant : plants) write_output(plant.name + "\n    " + plant.mistake + "\n");
      return;
    }
    if (flags->file.empty()) throw UserError("FILE is missing: a configuration in YAML");
    LoadedRun loaded = flags->load();
    if (!loaded.run.mesh().has_dp()) loaded.run.mutable_mesh()->set_dp(1);
    check_plannable(loaded);
    const VerifyReport report =
        verify_run(loaded.run, flags->plant.empty() ? nullptr : &plant_named(plants, flags->plant).seams);
    write_output(report.text);
    if (!report.agrees) exit_code = kDoesNotHold;
  });
}

}  // namespace trireme
