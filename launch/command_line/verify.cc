#include <chrono>
#include <memory>
#include <thread>

#include <fmt/format.h>

#include "launch/command_line/commands.h"
#include "launch/command_line/configuration_flags.h"
#include "launch/command_line/output.h"
#include "launch/config/problems.h"
#include "launch/train/rank.h"
#include "launch/verify/verify_run.h"
#include "monitoring/log.h"

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

// Processes may have been started with unlike arguments, or see unlike files.
void require_one_configuration(Communicator& peers, const config::Run& run) {
  const std::vector<std::string> read = peers.gather_to_all(print_run(run), {-1, "configuration"});
  for (std::size_t rank = 1; rank < read.size(); ++rank)
    if (read[rank] != read[0])
      throw UserError(
          fmt::format("rank {} read another configuration than rank 0: give all of them one file and the "
                      "same flags",
                      rank));
}

VerifyReport verify_in(MpiWorld& world, const Flags& flags, std::span<const Plant> plants) {
  LoadedRun loaded = flags.load();
  config::Run& run = loaded.run;
  if (!run.mesh().has_dp()) run.mutable_mesh()->set_dp(1);
  check_plannable(loaded);
  const TrialSeams* seams = flags.plant.empty() ? nullptr : &plant_named(plants, flags.plant).seams;
  if (world.size() == 1) return verify_run(run, seams);
  Rank rank(world, config::host, 1);  // what is tried is the layout, whichever device will compute it
  require_one_configuration(rank.peers(), run);
  TrialProcesses processes(*rank.context().device, rank.peers());
  return verify_run(run, seams, &processes);
}

// As threads of this process, or as the processes that a launcher started, of which rank 0 says what was found.
ExitCode verify_here(const Flags& flags, std::span<const Plant> plants) {
  int rank = 0;
  try {
    MpiWorld world;
    whereabouts().rank = rank = world.rank();
    configure_log({.ranks = world.size()});
    try {
      const VerifyReport report = verify_in(world, flags, plants);
      if (rank == 0) {
        write_output(report.text);
        flush_output();
      }
      if (!report.lost.empty()) throw PeerError(report.lost);
      return report.agrees ? ExitCode::kDone : kDoesNotHold;
    } catch (const UserError&) {
      // Every rank reads the same file and finds the same; one of them says so.
      if (rank == 0) throw;
      return ExitCode::kUserError;
    }
  } catch (const PeerError& error) {
    // The world has gone without waiting for the others. When a rank ends so, mpirun ends all: rank 0 comes first.
    if (rank > 0) {
      log_error("{}", error.what());
      std::this_thread::sleep_for(std::chrono::seconds(5));
    }
    return kDoesNotHold;
  }
}

}  // namespace

void add_verify_command(Command& program, ExitCode& exit_code, std::span<const Plant> plants) {
  auto flags = std::make_shared<Flags>();
  Command command = program.subcommand("verify", "Prove that a configuration's layout does not change what it learns");
  command.footer(
      "\nShrinks FILE, keeping the shape of its layout, and runs it on one rank and on the layout: as threads of this\n"
      "process, or, under mpirun, as the processes that it started (at least as many as the shrunk layout has ranks).\n"
      "Of 3 steps every gradient, norm and loss are compared, then the weights, their validation loss and the\n"
      "checkpoint's bytes: bit for bit in exact numerics (all but tp), within derived bounds otherwise. What differs\n"
      "is named, with the axis without which it does not. Exit codes: 0 it agrees; 1 it differs; 2 a mistake in FILE.");
  Flag file = flags->add(command, "mesh.tp=4");
  flags->add_ranks(command, "Of a run of so many ranks; decides mesh.dp");
  if (plants.empty()) {
    file.required();
  } else {
    command.option("--plant", flags->plant, "Plant this mistake in the layout's run");
    command.flag("--list-plants", flags->list_plants, "List the mistakes that can be planted");
  }
  command.runs([flags, plants, &exit_code] {
    if (flags->list_plants) {
      for (const Plant& plant : plants) write_output(plant.name + "\n    " + plant.mistake + "\n");
      return;
    }
    if (flags->file.empty()) throw UserError("FILE is missing: a configuration in YAML");
    exit_code = verify_here(*flags, plants);
  });
}

}  // namespace trireme
