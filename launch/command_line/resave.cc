#include "trainer/checkpoint/resave.h"

#include <memory>

#include "launch/command_line/commands.h"
#include "launch/train/model_directory.h"
#include "launch/train/rank.h"
#include "monitoring/log.h"

namespace trireme {

void add_resave_command(Command& program, ExitCode&) {
  struct Flags {
    std::string in, out;
  };
  auto flags = std::make_shared<Flags>();
  Command command = program.subcommand("resave", "Load a checkpoint and write it again, to the same bytes");
  command.footer("\nAlone or under mpirun with any number of ranks: sha256sum of every file is the same.");
  command.option("IN", flags->in, "A run, or one of its checkpoints").required();
  command.option("OUT", flags->out, "The folder to write; it must not exist").required();
  command.runs([flags] {
    MpiWorld world;
    whereabouts().rank = world.rank();
    configure_log({.ranks = world.size()});
    const ModelDirectory from = open_model_directory(flags->in);
    Rank rank(world, config::auto_, default_threads(world));
    resave(*rank.context().device, *rank.context().ops, rank.peers(), from.model, from.path, flags->out);
    log_info("wrote {} again as {}", from.path.string(), flags->out);
  });
}

}  // namespace trireme
