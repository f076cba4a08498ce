#include "launch/bench/scaling.h"

#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "launch/bench/own_steps.h"
#include "launch/bench/step_bench.h"
#include "launch/bench/turn_process.h"
#include "monitoring/error.h"

namespace trireme {
namespace {

constexpr const char* kReady = "ready";
// A rank waits for the others' turn, which may be long; who dies is noticed whatever this is.
constexpr std::chrono::hours kPatience(24);

std::vector<std::string> command_of(const ScalingBench& bench) {
  std::vector<std::string> command = {bench.mpirun};
  if (geteuid() == 0) command.push_back("--allow-run-as-root");
  const std::string dtype = name_of(dtype_of(bench.precision));
  command.insert(command.end(), {"-n", std::to_string(bench.layout.ranks()), "--oversubscribe", "--bind-to", "none",
                                 bench.program, "bench", "scaling-ranks", "--size", bench.workload.name, "--dtype",
                                 dtype, "--threads", std::to_string(bench.threads), "--layout", bench.layout.text});
  return command;
}

class RankSteps {
 public:
  explicit RankSteps(const ScalingBench& bench) : process_(started(bench)) {
    const std::string first = answer();
    if (first != kReady)
      throw PeerError(fmt::format("the ranks of {} say \"{}\" for \"ready\"", bench.layout.text, first));
  }

  nlohmann::json turn(int steps) {
    process_->tell(std::to_string(steps));
    return nlohmann::json::parse(answer());
  }

 private:
  static std::unique_ptr<TurnProcess> started(const ScalingBench& bench) try {
    return std::make_unique<TurnProcess>(command_of(bench));
  } catch (const UserError& error) {
    throw UserError(
        fmt::format("{}. `launch/setup` installs Open MPI, and --mpirun names one that is elsewhere", error.what()));
  }
  std::string answer() {
    if (const std::optional<std::string> line = process_->answer()) return *line;
    throw PeerError(fmt::format("the ranks that mpirun started ended with {}; what they said stands above",
                                how_it_ended(process_->wait_for_end())));
  }
  std::unique_ptr<TurnProcess> process_;
};

}  // namespace

std::vector<double> ScalingResult::ratios() const {
  std::vector<double> ratios;
  for (std::size_t turn = 0; turn < ranks_seconds.size(); ++turn)
    ratios.push_back(one_seconds[turn] / ranks_seconds[turn]);
  return ratios;
}

ScalingResult measure_scaling(const ScalingBench& bench, const std::function<void(const std::string&)>& report) {
  ScalingResult result;
  RankSteps ranks(bench);
  OwnSteps one(bench.workload, bench.precision, bench.threads * bench.layout.ranks());
  const auto tokens = static_cast<double>(bench.workload.tokens());
  const double answers = static_cast<double>(bench.alternations) * bench.layout.ranks();
  for (int turn = 0; turn < bench.alternations; ++turn) {
    const auto alone = [&] { result.one_seconds.push_back(median(one.seconds_of(bench.steps))); };
    const auto together = [&] {
      const nlohmann::json said = ranks.turn(bench.steps);
      result.ranks_seconds.push_back(median(said.at("seconds").get<std::vector<double>>()));
      result.loss_of_ranks = said.at("loss").get<double>();
      for (const nlohmann::json& rank : said.at("ranks")) {
        result.exposure.communication_seconds += rank.at("communication").get<double>() / answers;
        result.exposure.exposed_seconds += rank.at("exposed").get<double>() / answers;
      }
    };
    if (turn % 2 == 1) together();  // neither always follows the other
    alone();
    if (turn % 2 == 0) together();
    report(fmt::format("  {} of {}: {:.0f} tokens/s, one rank {:.0f}, ratio {:.3f}\n", turn + 1, bench.alternations,
                       tokens / result.ranks_seconds.back(), tokens / result.one_seconds.back(),
                       result.ratios().back()));
  }
  result.loss_of_one = one.loss();
  return result;
}

void serve_scaling(const Workload& workload, config::Precision precision, int threads, const BenchLayout& layout) {
  MpiWorld world({.timeout = kPatience});
  try {
    if (world.size() != layout.ranks())
      throw UserError(
          fmt::format("{} is a layout of {} ranks, and there are {}", layout.text, layout.ranks(), world.size()));
    OwnSteps steps(world, workload, precision, threads, layout);
    const bool speaks = world.rank() == 0;
    if (speaks) std::cout << kReady << std::endl;
    while (true) {
      std::string line;
      if (speaks) std::getline(std::cin, line);
      const std::string asked = steps.peers().gather_to_all(line, {-1, "steps to take"})[0];
      if (asked.empty()) return;
      const std::vector<double> seconds = steps.seconds_of(std::stoi(asked));
      const nlohmann::json mine = {{"communication", steps.exposure().communication_seconds},
                                   {"exposed", steps.exposure().exposed_seconds}};
      nlohmann::json answer = {{"seconds", seconds}, {"loss", steps.loss()}, {"ranks", nlohmann::json::array()}};
      for (const std::string& rank : steps.peers().gather_to_all(mine.dump(), {-1, "exposures"}))
        answer["ranks"].push_back(nlohmann::json::parse(rank));
      if (speaks) std::cout << answer.dump() << std::endl;
    }
  } catch (const Error& error) {
    if (world.size() == 1) throw;
    std::fprintf(stderr, "trireme: %s\n", error.what());
    world.abort(static_cast<int>(error.code()));  // the others may be waiting for this rank
  }
}

}  // namespace trireme
