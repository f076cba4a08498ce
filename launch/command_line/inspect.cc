#include "launch/command_line/inspect.h"

#include <filesystem>
#include <memory>
#include <string>

#include "dataloader/shard/manifest.h"
#include "launch/command_line/commands.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

// Manifests of data sets and of checkpoints have one name; weights tell which it is.
bool has_weights(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") return true;
  }
  return fs::exists(folder / "config.json");
}

void inspect_folder(const fs::path& folder, const InspectOptions& options) {
  if (fs::is_directory(folder / "checkpoints")) return inspect_run(folder, options);
  if (fs::exists(folder / kManifestFile)) {
    return has_weights(folder) ? inspect_checkpoint(folder, options) : inspect_dataset(folder, options);
  }
  throw UserError(folder.string() + " is nothing that inspect knows: a data set and a checkpoint hold " +
                  kManifestFile + ", which is written last, and a run holds checkpoints/");
}

void inspect(const fs::path& path, const InspectOptions& options) {
  try {
    if (!fs::exists(path)) throw UserError("there is no " + path.string());
    if (fs::is_directory(path)) return inspect_folder(path, options);
    if (path.filename() == kManifestFile) {
      return inspect_folder(path.has_parent_path() ? path.parent_path() : fs::path("."), options);
    }
    if (path.extension() == ".shard") return inspect_shard(path, options);
  } catch (const fs::filesystem_error& error) {
    throw UserError("cannot look at " + path.string() + ": " + error.code().message());
  }
  throw UserError(path.string() + " is a file that inspect does not know; name a folder, or a .shard file");
}

}  // namespace

void add_inspect_command(Command& program, ExitCode&) {
  struct Flags {
    std::string path;
    InspectOptions options;
  };
  auto flags = std::make_shared<Flags>();
  Command command = program.subcommand("inspect", "Show what a run, a checkpoint, a data set or a shard holds");
  command.footer(
      "\nFor example:\n"
      "  trireme inspect runs/quickstart                        its newest checkpoint\n"
      "  trireme inspect data/kjv                               splits, documents, tokens\n"
      "  trireme inspect data/kjv --text validation | less      the text behind a split's tokens");
  command.option("PATH", flags->path, "A run, one of its checkpoints, a folder that prepare wrote, or a shard")
      .required();
  command
      .option("--text", flags->options.text_of_split,
              "Of a data set: write the text of this split, documents one after another, and nothing else")
      .value_name("SPLIT");
  command.flag("--verify", flags->options.verify, "Read everything and hold it against its checksums");
  command.flag("--tensors", flags->options.tensors, "Of a checkpoint: list its weights");
  command.runs([flags] { inspect(flags->path, flags->options); });
}

}  // namespace trireme
