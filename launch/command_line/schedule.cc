#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "launch/command_line/commands.h"
#include "launch/command_line/output.h"
#include "launch/config/fields.h"
#include "launch/config/problems.h"
#include "monitoring/run_report.h"
#include "parallel/pipeline/draw.h"
#include "parallel/pipeline/schedules.h"
#include "parallel/pipeline/simulate.h"

namespace trireme {
namespace {

constexpr std::size_t kPageWidth = 120;  // characters

config::Pipeline::Schedule schedule_called(const std::string& name) {
  const google::protobuf::EnumDescriptor& kinds = *config::Pipeline::Schedule_descriptor();
  const std::vector<std::string> names = enum_spellings(kinds);
  for (int i = 0; i < kinds.value_count(); ++i)
    if (enum_spelling(*kinds.value(i)) == name)
      return static_cast<config::Pipeline::Schedule>(kinds.value(i)->number());
  const std::string nearest = nearest_name(name, names);
  throw UserError(
      quote_text(name) + " is no schedule" +
      (nearest.empty() ? fmt::format("; there are {}", fmt::join(names, ", ")) : ", did you mean " + nearest + "?"));
}

std::string legend(PipelineShape shape) {
  std::string text = shape.chunks == 1 ? "F3: micro-batch 3 forward" : "5F3: micro-batch 3 forward through stage 5";
  text += "; B: the gradient of its input; W: the gradient of the weights; a dot: idle.\n";
  return text + "Each takes one unit of time here, and what travels between ranks none.\n";
}

std::string describe(const std::string& name, PipelineShape shape, int micro_batches, const Simulation& simulation) {
  std::string text = fmt::format("{}, {} {}, {} {}", name, shape.ranks, shape.ranks == 1 ? "rank" : "ranks",
                                 micro_batches, micro_batches == 1 ? "micro-batch" : "micro-batches");
  if (shape.chunks > 1) text += fmt::format(", {} stages a rank", shape.chunks);
  text += "\n\n" + draw_timeline(simulation, shape, kPageWidth) + "\n" + legend(shape);
  text += fmt::format("\nbubble: {:.1f} % of the time, {:g} of {:g} units on each rank\n", 100 * simulation.bubble,
                      simulation.bubble * simulation.makespan, simulation.makespan);
  text += fmt::format("saved activations at most, rank by rank: {}", fmt::join(simulation.peak_saved, " "));
  return text + (shape.chunks == 1 ? " micro-batches\n" : " micro-batches of one stage\n");
}

}  // namespace

void add_schedule_command(Command& program, ExitCode&) {
  struct Flags {
    std::string name;
    int stages = 0;
    int micro_batches = 0;
    int chunks = 1;
  };
  auto flags = std::make_shared<Flags>();
  Command command = program.subcommand("schedule", "Draw a pipeline schedule and what it costs");
  command.footer(
      "\nFor example:\n"
      "  trireme schedule 1f1b --stages 4 --micro-batches 8\n"
      "  trireme schedule interleaved-1f1b --stages 4 --micro-batches 8 --chunks 2\n"
      "It is the list that `trireme train` runs with pipeline.schedule, mesh.pp and pipeline.chunks set so.");
  command.option("SCHEDULE", flags->name, "gpipe, 1f1b or interleaved-1f1b").required();
  command.option("--stages", flags->stages, "Ranks in the pipeline (mesh.pp)")
      .value_name("N")
      .between(1, 1024)
      .required();
  command.option("--micro-batches", flags->micro_batches, "Micro-batches of a step, of one rank")
      .value_name("N")
      .between(1, 4096)
      .required();
  command.option("--chunks", flags->chunks, "Stages that each rank holds, of interleaved-1f1b (default: 1)")
      .value_name("N")
      .between(1, 64);
  command.runs([flags] {
    const config::Pipeline::Schedule kind = schedule_called(flags->name);
    const PipelineShape shape{flags->stages, flags->chunks};
    const Schedules schedules = pipeline_schedules(kind, shape, flags->micro_batches);
    write_output(describe(flags->name, shape, flags->micro_batches, simulate(shape, schedules, {})));
  });
}

}  // namespace trireme
