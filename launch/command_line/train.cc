#include <memory>
#include <optional>

#include "launch/command_line/commands.h"
#include "launch/command_line/configuration_flags.h"
#include "launch/train/run_training.h"
#include "monitoring/log.h"

namespace trireme {

void add_train_command(Command& program, ExitCode& exit_code) {
  auto flags = std::make_shared<ConfigurationFlags>();
  Command command = program.subcommand("train", "Train a model, or go on where its run stopped");
  command.footer(
      "\nAlone, or with many ranks: mpirun -n 2 trireme train FILE. The same command resumes from the newest\n"
      "checkpoint in run.dir. Ctrl-C, SIGTERM and SIGUSR1 save, then end with exit code 75. Each rank takes the GPU\n"
      "of its number on its host, or computes on the CPU where there is none; --set device=host or cuda decides.");
  flags->add(command, "train.steps=500").required();
  command.runs([flags, &exit_code] {
    MpiWorld world;
    whereabouts().rank = world.rank();
    configure_log({.ranks = world.size()});
    std::optional<LoadedRun> loaded;
    try {
      loaded = load_run(flags->file, flags->overrides, world.size());
      check_runnable_here(*loaded);
    } catch (const UserError&) {
      // Every rank reads the same file and finds the same; one of them says so.
      if (world.rank() == 0) throw;
      exit_code = ExitCode::kUserError;
      return;
    }
    try {
      exit_code = run_training(world, *loaded);
    } catch (const Error& error) {
      if (world.size() == 1) throw;
      // The others may be waiting for this rank: what it knows is said, and all of them end.
      log_error("{}", error.what());
      world.abort(static_cast<int>(error.code()));
    }
  });
}

}  // namespace trireme
