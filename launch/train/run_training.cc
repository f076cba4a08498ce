#include "launch/train/run_training.h"

#include <climits>
#include <optional>

#include <unistd.h>

#include "launch/config/hugging_face.h"
#include "launch/config/problems.h"
#include "launch/train/experiment.h"
#include "launch/train/rank.h"
#include "launch/train/run_record.h"
#include "launch/train/stop_signals.h"
#include "monitoring/log.h"
#include "monitoring/run_report.h"
#include "trainer/loop/gemm_peak.h"
#include "trainer/loop/train_loop.h"
#include "trainer/model/hugging_face.h"
#include "trainer/model/transformer.h"
#include "trainer/step/memory_plan.h"

namespace trireme {
namespace {

std::string host_name() {
  char name[HOST_NAME_MAX + 1] = {};
  gethostname(name, HOST_NAME_MAX);
  return name;
}

std::string layout_text(const config::Run& run) {
  return fmt::format("dp={} pp={} cp={} tp={}, ZeRO {}, micro-batch {}", run.mesh().dp(), run.mesh().pp(),
                     run.mesh().cp(), run.mesh().tp(), run.zero().stage(), run.train().micro_batch());
}

void log_ledgers(const config::Run& run, const StepPlan& plan, const Rank& rank, int ranks, int threads,
                 double peak_flops) {
  const double per_token = flops_per_token(run.model());
  const double tokens = static_cast<double>(run.train().global_batch()) * run.model().sequence_length();
  log_info("{} parameters, {} FLOP a token, {} tokens and {} FLOP a step",
           human_count(static_cast<double>(plan.parameters)), human_count(per_token), human_count(tokens),
           human_count(per_token * tokens));
  log_info("{} {}, {} {} each, {}; GEMM peak {} FLOP/s", ranks, ranks == 1 ? "rank" : "ranks", threads,
           threads == 1 ? "thread" : "threads", rank.description(), human_count(peak_flops));
  Table table({"memory of a rank", "bytes"}, {Align::kLeft, Align::kRight});
  for (const auto& [what, bytes] : plan.bytes_at_peak)
    if (bytes > 0) table.row({what, human_bytes(static_cast<double>(bytes))});
  if (rank.staging_bytes() > 0) table.row({"sums over ranks", human_bytes(static_cast<double>(rank.staging_bytes()))});
  table.total({"planned", human_bytes(static_cast<double>(plan.arena_bytes + rank.staging_bytes()))});
  log_info("planned before the first step, and not exceeded after it:\n{}", table.text(2));
}

// FLOP/s of all ranks, each measured while the others are, too: those of a host share its clock and its memory.
double peak_of_all(Rank& rank, DType dtype) {
  rank.peers().gather_to_all("", {-1, "GEMM peaks are measured"});
  const double mine = measure_gemm_peak(rank.context(), dtype);
  double sum = 0;
  for (const std::string& peak : rank.peers().gather_to_all(fmt::format("{}", mine), {-1, "GEMM peaks"}))
    sum += std::stod(peak);
  return sum;
}

}  // namespace

ExitCode run_training(MpiWorld& world, const LoadedRun& loaded, RunObserver* observer) {
  const config::Run& run = loaded.run;
  const StopSignals signals;
  const int threads = run.run().has_threads() ? run.run().threads() : default_threads(world);
  Rank rank(world, run.device(), threads, run.numerics() == config::exact ? Order::kExact : Order::kFast);
  const Dataset dataset(run.data().path());
  const Experiment experiment = experiment_of(run);
  const BatchPlan batches = batch_plan_of(run, world.rank());
  const Layout layout = layout_of(run);
  const MeshCommunicators& peers = rank.connect(layout.mesh);
  const StepPlan plan = plan_step(experiment, layout, batches, world.rank());
  // While there is memory beside the arena.
  const double peak = peak_of_all(rank, dtype_of(run.train().precision()));
  rank.take_memory(plan.arena_bytes);

  TrainRun what{.experiment = experiment,
                .layout = layout,
                .dir = run.run().dir(),
                .steps = steps_of(run),
                .batches = batches,
                .attention = attention_of(run),
                .checkpoint = run.checkpoint(),
                .validation = run.validation(),
                .experiment_text = experiment_text(run, dataset.manifest()),
                .config_json = hugging_face_config(run.model(), dtype_of(run.train().precision()),
                                                   dataset.manifest().end_of_document),
                .tokenizer_json = dataset.tokenizer_json(),
                .weights_from = {},
                .trace_steps = run.monitoring().trace_steps()};
  if (run.model().has_from()) {
    Problems none;  // the configuration was checked
    if (read_hugging_face_directory(run.model().from(), none).weights == WeightFiles::kSafetensors)
      what.weights_from = run.model().from();
  }

  what.peak_flops = peak;
  const std::vector<std::string> hosts = rank.peers().gather_to_all(host_name(), {-1, "host names"});
  std::optional<RunRecord> record;
  int attempt = 1;
  if (world.rank() == 0) {
    std::error_code error;
    std::filesystem::create_directories(what.dir, error);
    if (error) throw UserError("cannot make the run's folder " + what.dir.string() + ": " + error.message());
    record.emplace(what.dir, RunRecord::Attempt{layout_text(run), hosts, print_run(run)});
    attempt = record->attempt();
    log_ledgers(run, plan, rank, world.size(), threads, peak);
  }
  what.attempt = std::stoi(rank.peers().gather_to_all(std::to_string(attempt), {-1, "attempt"})[0]);

  MetricsRegistry metrics({{"rank", std::to_string(world.rank())}});
  std::optional<Exporter> exporter;
  if (run.monitoring().port() > 0) {
    exporter.emplace(metrics, run.monitoring().address(), run.monitoring().port() + world.rank());
    log_info("metrics at {}", exporter->url());
  }
  Trace trace(world.rank());
  const TrainOutcome outcome = train({.context = rank.context(),
                                      .peers = peers,
                                      .streams = rank.streams(),
                                      .dataset = dataset,
                                      .metrics = metrics,
                                      .trace = trace,
                                      .stop = signals.requested(),
                                      .observer = observer},
                                     what);
  if (record) record->ended(outcome.step, outcome.stopped ? "stopped by a signal" : "done");
  if (!outcome.stopped) {
    log_info("done: {} steps; the run is in {}", outcome.step, what.dir.string());
    return ExitCode::kDone;
  }
  if (!outcome.saved) throw PeerError("stopped by a signal, but its checkpoint could not be saved (see above)");
  log_info("stopped by a signal after step {}, saved; the same command goes on from there", outcome.step);
  return ExitCode::kStoppedSaved;
}

}  // namespace trireme
