#include "monitoring/plot.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

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

void add_plot_command(Command& program, ExitCode&) {
  struct Flags {
    std::vector<std::string> runs;
    std::string out;
  };
  auto flags = std::make_shared<Flags>();
  Command command = program.subcommand("plot", "Draw the loss curve of one or more runs as SVG");
  command.footer(
      "\nFor example:\n"
      "  trireme plot runs/quickstart                           writes runs/quickstart/loss.svg\n"
      "  trireme plot runs/a runs/b --out a-and-b.svg           compares two runs");
  command.option("RUN", flags->runs, "A run's folder, or its metrics.jsonl").required();
  command.option("--out", flags->out, "The picture (default: RUN/loss.svg, or loss.svg for several runs)")
      .value_name("FILE");
  command.runs([flags] {
    const fs::path out = flags->out.empty() ? default_output(flags->runs) : fs::path(flags->out);
    write_svg(loss_plot({flags->runs.begin(), flags->runs.end()}), out);
    write_output(out.string() + "\n");
  });
}

}  // namespace trireme
