#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "launch/bench/own_steps.h"
#include "launch/bench/scaling.h"
#include "launch/bench/step_bench.h"
#include "launch/command_line/bench.h"
#include "monitoring/error.h"
#include "monitoring/run_report.h"

namespace trireme {
namespace {

struct ScalingFlags : BenchFlags {
  ScalingFlags() {
    sizes = {"tiny"};
    threads = 1;
  }
  int ranks = 2;
  std::vector<std::string> layouts;  // none: one for each axis and ZeRO stage
  int steps = 2;
  int alternations = 5;
  std::string mpirun = "mpirun";

  std::vector<std::string> wanted() const {
    if (!layouts.empty()) return layouts;
    const auto axis = [&](const char* form) { return fmt::format(fmt::runtime(form), ranks); };
    return {axis("dp={}"),        axis("dp={},zero=1"), axis("dp={},zero=2"),
            axis("dp={},zero=3"), axis("pp={}"),        axis("tp={}")};
  }
};

std::string milliseconds(double seconds) { return fmt::format("{:.1f} ms", 1e3 * seconds); }

std::vector<std::string> row_of(const ScalingBench& bench, const ScalingResult& result) {
  const auto tokens = static_cast<double>(bench.workload.tokens());
  const double step = median(result.ranks_seconds);
  const double bubble = bench.layout.simulated_bubble(bench.workload);
  return {bench.workload.name,
          name_of(bench.precision),
          bench.layout.text,
          fmt::format("{:.0f}", tokens / step),
          fmt::format("{:.0f}", tokens / median(result.one_seconds)),
          fmt::format("{:.2f}", median(result.ratios())),
          milliseconds(result.exposure.communication_seconds),
          milliseconds(result.exposure.exposed_seconds),
          human_share(result.exposure.exposed_seconds / step),
          bubble > 0 ? human_share(bubble) : "",
          ratios_text(result.ratios())};
}

void bench_scaling(const ScalingFlags& flags) {
  const int cores = all_threads();  // throws under a launcher
  std::vector<ScalingBench> benches;
  for (const Workload& workload : flags.workloads())
    for (const config::Precision precision : flags.precisions())
      for (const std::string& layout : flags.wanted())
        benches.push_back({.workload = workload,
                           .precision = precision,
                           .layout = bench_layout(layout, workload),
                           .threads = flags.threads,
                           .steps = flags.steps,
                           .alternations = flags.alternations,
                           .mpirun = flags.mpirun,
                           .program = std::filesystem::read_symlink("/proc/self/exe")});
  say(fmt::format("{} {} a rank on {} {}, {}\n", flags.threads, flags.threads == 1 ? "thread" : "threads", cores,
                  cores == 1 ? "core" : "cores", description_of_device(flags.threads)));
  Table table({"size", "dtype", "layout", "tokens/s", "one rank's", "median ratio", "communication", "exposed",
               "of a step", "bubble", "all ratios"},
              {Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight,
               Align::kRight, Align::kRight, Align::kRight, Align::kLeft});
  for (const ScalingBench& bench : benches) {
    const int threads = bench.threads * bench.layout.ranks();
    say(fmt::format("{}; {} beside one rank of {} threads\n", describe(bench.workload, bench.precision),
                    bench.layout.text, threads));
    if (threads > cores) say(fmt::format("  {} threads share {} cores: the ratio says little\n", threads, cores));
    table.row(row_of(bench, measure_scaling(bench, say)));
  }
  say("\n" + table.text());
}

}  // namespace

void add_bench_scaling(Command& bench) {
  auto flags = std::make_shared<ScalingFlags>();
  Command command =
      bench.subcommand("scaling", "Ranks together in turn with one rank, and the communication that is exposed");
  command.footer(
      "\nIt starts its ranks under mpirun itself: type `trireme bench scaling`, without mpirun. The one rank has the\n"
      "threads of all. Both take turns in the same run, and the median of the paired ratios is the result: above 1,\n"
      "the ranks are faster. Communication, from the ranks' traces and their mean: the time of a step in which a call\n"
      "to peers was under way, waiting for them included; exposed: how long computing waited for it, or was in it.\n"
      "A pipeline's is mostly its bubble, given as `trireme schedule` has it.");
  flags->add(command, "Compute threads of each rank (default: 1)");
  command.option("--ranks", flags->ranks, "Ranks of the layouts where none are named").between(2, 1024).shows_default();
  command.option("--layout", flags->layouts,
                 "dp=N, pp=N, tp=N, zero=0..3 and micro-batch=N, with commas between (default: dp, each stage of "
                 "ZeRO, pp and tp; may be repeated)");
  command.option("--steps", flags->steps, "Steps of a turn").between(1, 1000000).shows_default();
  command.option("--alternations", flags->alternations, "Turns").between(1, 10000).shows_default();
  command.option("--mpirun", flags->mpirun, "The launcher").shows_default();
  command.runs([flags] { bench_scaling(*flags); });

  // What `scaling` starts; its standard input and output are for that alone.
  auto rank = std::make_shared<ScalingFlags>();
  Command ranks = bench.subcommand("scaling-ranks", "A rank of `trireme bench scaling`").hidden();
  rank->add(ranks, "");
  ranks.option("--layout", rank->layouts).required();
  ranks.runs([rank] {
    const Workload workload = rank->workloads().at(0);
    serve_scaling(workload, rank->precisions().at(0), rank->threads, bench_layout(rank->layouts.at(0), workload));
  });
}

}  // namespace trireme
