#include "launch/command_line/inspect.h"

#include <filesystem>
#include <memory>
#include <string>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "dataloader/shard/manifest.h"
#include "launch/command_line/commands.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

void inspect(const fs::path& path, const InspectOptions& options) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw UserError("there is no " + path.string());
  if (fs::is_directory(status) && fs::exists(path / kManifestFile, error)) return inspect_dataset(path, options);
  if (fs::is_regular_file(status) && path.filename() == kManifestFile)
    return inspect_dataset(path.parent_path(), options);
  if (fs::is_regular_file(status) && path.extension() == ".shard") return inspect_shard(path, options);
  throw UserError(path.string() + " is nothing that inspect knows. A data set is a folder with " + kManifestFile +
                  ", which `trireme prepare` writes last");
}

}  // namespace

void add_inspect_command(CLI::App& program, ExitCode&) {
  struct Flags {
    std::string path;
    InspectOptions options;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("inspect", "Show what a data set or a shard holds");
  command->footer(
      "\nFor example:\n"
      "  trireme inspect data/kjv                               splits, documents, tokens\n"
      "  trireme inspect data/kjv --text validation | less      the text behind a split's tokens");
  command->add_option("PATH", flags->path, "A folder that prepare wrote, or a file of it")->required();
  command
      ->add_option("--text", flags->options.text_of_split,
                   "Write the text of this split, documents one after another, and nothing else")
      ->type_name("SPLIT");
  command->add_flag("--verify", flags->options.verify, "Read everything and hold it against its checksums");
  command->callback([flags] { inspect(flags->path, flags->options); });
}

}  // namespace trireme
