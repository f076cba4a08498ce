#include "launch/command_line/bench.h"

#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "launch/bench/op_bench.h"
#include "launch/bench/own_steps.h"
#include "launch/bench/step_bench.h"
#include "launch/command_line/commands.h"
#include "launch/command_line/output.h"
#include "monitoring/run_report.h"
#include "trainer/loop/gemm_peak.h"

namespace trireme {

void BenchFlags::add(Command& command, const std::string& threads_text) {
  command
      .option("--size", sizes,
              "tiny, small (GPT-2 124M), all, or layers x hidden x sequence x vocabulary x batch: "
              "2x128x64x512x4 (may be repeated)")
      .shows_default();
  command.option("--dtype", dtype, "fp32, bf16, or all of them").one_of({"fp32", "bf16", "all"}).shows_default();
  command.option("--threads", threads, threads_text).between(1, 4096);
}

std::vector<Workload> BenchFlags::workloads() const {
  std::vector<Workload> all;
  for (const std::string& size : sizes) {
    if (size == "all") {
      for (const char* each : {"tiny", "small"}) all.push_back(workload_named(each));
    } else {
      all.push_back(workload_named(size));
    }
  }
  return all;
}

std::vector<config::Precision> BenchFlags::precisions() const {
  if (dtype == "fp32") return {config::fp32};
  if (dtype == "bf16") return {config::bf16};
  return {config::fp32, config::bf16};
}

const char* name_of(config::Precision precision) { return trireme::name_of(dtype_of(precision)); }

std::string describe(const Workload& workload, config::Precision precision) {
  return fmt::format("{} {}: {} layers, hidden size {}, {} tokens of {}, batch {}", workload.name, name_of(precision),
                     workload.layers, workload.hidden_size, workload.sequence_length, workload.vocabulary,
                     workload.batch);
}

std::string ratios_text(const std::vector<double>& ratios) {
  std::string text;
  for (const double ratio : ratios) text += fmt::format("{}{:.2f}", text.empty() ? "" : " ", ratio);
  return text;
}

void say(const std::string& text) {
  write_output(text);
  flush_output();
}

namespace {

// "arithmetic" where that takes longer than the bytes, and how fast the op then is against it.
std::vector<std::string> row_of(const OpResult& result, double peak, double bandwidth) {
  const bool arithmetic = result.work.flop / peak > result.work.bytes / bandwidth;
  const double floor = arithmetic ? result.work.flop / peak : result.work.bytes / bandwidth;
  const double rate = (arithmetic ? result.work.flop : result.work.bytes) / result.seconds / 1e9;
  return {result.op,
          result.shape,
          human_seconds(result.seconds),
          fmt::format("{:.1f} {}", rate, arithmetic ? "GFLOP/s" : "GB/s"),
          human_seconds(floor),
          fmt::format("{:.2f}", floor / result.seconds)};
}

struct OpFlags : BenchFlags {
  std::string filter;
  double seconds = 0.1;
};

void bench_ops(const OpFlags& flags) {
  const int threads = flags.threads > 0 ? flags.threads : all_threads();
  MpiWorld world;
  Rank rank(world, config::auto_, threads);
  const double bandwidth = measure_copy_bandwidth(rank.context());
  say(fmt::format("{} threads, {}; a copy moves {:.1f} GB/s\n", threads, rank.description(), bandwidth / 1e9));
  for (const config::Precision precision : flags.precisions()) {
    const double peak = measure_gemm_peak(rank.context(), dtype_of(precision));
    for (const Workload& workload : flags.workloads()) {
      Table table({"op", "operands", "takes", "reaches", "floor", "floor / takes"},
                  {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight});
      for (const OpResult& result :
           measure_ops(rank.context(), workload, dtype_of(precision), flags.filter, flags.seconds))
        table.row(row_of(result, peak, bandwidth));
      say(fmt::format("\n{} {}; GEMM peak {:.0f} GFLOP/s\n", workload.name, name_of(precision), peak / 1e9) +
          table.text(2));
    }
  }
}

struct StepFlags : BenchFlags {
  int steps = 2;
  int alternations = 5;
  bool compare = false;
  std::string python = PeerCommand().python;
  std::string peer;
};

void bench_steps(const StepFlags& flags) {
  const int threads = flags.threads > 0 ? flags.threads : all_threads();
  PeerCommand peer{.python = flags.python, .script = flags.peer};
  if (flags.compare && flags.peer.empty()) peer.script = find_peer_script();

  std::vector<std::string> head = {"size", "dtype", "tokens/s", "GEMM peak", "share of it"};
  std::vector<Align> align = {Align::kLeft, Align::kLeft, Align::kRight, Align::kRight, Align::kRight};
  if (flags.compare) {
    head.insert(head.end(), {"PyTorch tokens/s", "median ratio", "all ratios"});
    align.insert(align.end(), {Align::kRight, Align::kRight, Align::kLeft});
  }
  Table table(head, align);
  say(fmt::format("{} threads, {}\n", threads, description_of_device(threads)));
  for (const Workload& workload : flags.workloads())
    for (const config::Precision precision : flags.precisions()) {
      say(describe(workload, precision) + "\n");
      const StepResult result = measure_steps({.workload = workload,
                                               .precision = precision,
                                               .threads = threads,
                                               .steps = flags.steps,
                                               .alternations = flags.alternations},
                                              flags.compare ? &peer : nullptr, say);
      const auto tokens = static_cast<double>(workload.tokens());
      const double speed = tokens / median(result.own_seconds);
      std::vector<std::string> row = {workload.name, name_of(precision), fmt::format("{:.0f}", speed),
                                      fmt::format("{:.0f} GFLOP/s", result.peak_flops / 1e9),
                                      human_share(speed * result.flops_per_token / result.peak_flops)};
      if (flags.compare) {
        say("  beside " + result.peer + "\n");
        row.insert(row.end(), {fmt::format("{:.0f}", tokens / median(result.peer_seconds)),
                               fmt::format("{:.2f}", median(result.ratios())), ratios_text(result.ratios())});
      }
      table.row(row);
    }
  say("\n" + table.text());
}

}  // namespace

void add_bench_ops(Command& bench) {
  auto flags = std::make_shared<OpFlags>();
  flags->sizes = {"tiny", "small"};
  Command command = bench.subcommand("ops", "Every op at a model's sizes, against its floor");
  command.footer(
      "\nThe floor of an op is its arithmetic at the measured GEMM peak, or its bytes at the measured speed of a "
      "copy,\n"
      "whichever takes longer. What fits the caches may beat it.");
  flags->add(command, "Compute threads (default: the cores there are)");
  command.option("--filter", flags->filter, "Only ops whose name contains this");
  command.option("--seconds", flags->seconds, "Of measuring a case").between(0.0, 60.0).shows_default();
  command.runs([flags] { bench_ops(*flags); });
}

void add_bench_step(Command& bench) {
  auto flags = std::make_shared<StepFlags>();
  flags->sizes = {"tiny", "small"};
  Command command = bench.subcommand("step", "Whole optimizer steps on random tokens");
  command.footer(
      "\n--compare takes turns with PyTorch (tests/peers/gpt_step.py) in the same run; the median of the paired "
      "ratios\n"
      "is the result: above 1, Trireme is faster. The share of the peak counts causal attention once.");
  flags->add(command, "Compute threads (default: the cores there are)");
  command.option("--steps", flags->steps, "Steps of a turn").between(1, 1000000).shows_default();
  command.option("--alternations", flags->alternations, "Turns").between(5, 10000).shows_default();
  command.flag("--compare", flags->compare, "Take turns with PyTorch");
  command.option("--python", flags->python, "The Python that has PyTorch").shows_default();
  command.option("--peer", flags->peer, "The peer's script (default: tests/peers/gpt_step.py of this clone)");
  command.runs([flags] { bench_steps(*flags); });
}

void add_bench_command(Command& program, ExitCode&) {
  Command command = program.subcommand("bench", "Measure ops, whole steps and layouts against their floors and a peer");
  command.footer("\nEach of them has --help. Where others use the machine too, only ratios of one run say something.");
  command.needs_subcommand();
  add_bench_ops(command);
  add_bench_step(command);
  add_bench_scaling(command);
}

}  // namespace trireme
