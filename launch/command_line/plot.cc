#include "monitoring/plot.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "launch/command_line/commands.h"
#include "launch/command_line/output.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

// Beside the metrics of a single run, and here for several.
fs::path default_output(const std::vector<std::string>& runs) {
  const fs::path first = runs.front();
  if (runs.size() > 1) return "loss.svg";
  return (fs::is_directory(first) ? first : first.parent_path()) / "loss.svg";
}

}  // namespace

void add_plot_command(CLI::App& program, ExitCode&) {
  struct Flags {
    std::vector<std::string> runs;
    std::string out;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = program.add_subcommand("plot", "Draw the loss curve of one or more runs as SVG");
  command->footer(
      "\nFor example:\n"
      "  trireme plot runs/quickstart                           writes runs/quickstart/loss.svg\n"
      "  trireme plot runs/a runs/b --out a-and-b.svg           compares two runs");
  command->add_option("RUN", flags->runs, "A run's folder, or its metrics.jsonl")->required();
  command->add_option("--out", flags->out, "The picture (default: RUN/loss.svg, or loss.svg for several runs)")
      ->type_name("FILE");
  command->callback([flags] {
    const fs::path out = flags->out.empty() ? default_output(flags->runs) : fs::path(flags->out);
    write_svg(loss_plot({flags->runs.begin(), flags->runs.end()}), out);
    write_output(out.string() + "\n");
  });
}

}  // namespace trireme
