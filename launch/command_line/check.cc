#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "launch/command_line/commands.h"
#include "launch/command_line/configuration_flags.h"
#include "launch/command_line/output.h"
#include "launch/train/experiment.h"
#include "monitoring/run_report.h"
#include "trainer/check/layout_check.h"

namespace trireme {
namespace {

constexpr const char* kCategories[] = {"parameters", "gradients", "optimizer", "activations"};
constexpr std::size_t kMostRows = 40;

struct Row {
  const PlannedRank* planned;
  int ranks;
  bool all_of_dp;  // the row is of every place on dp
};

std::string places_text(const Row& row) {
  std::string text;
  for (Axis axis : {Axis::kDp, Axis::kPp, Axis::kTp}) {
    const AxisPlace& place = row.planned->places[axis];
    if (place.parts == 1 || (axis == Axis::kDp && row.all_of_dp)) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of(axis), place.index);
  }
  return text.empty() ? "all" : text;
}

// The first and the last place of dp are one row where they take the same.
std::vector<Row> rows_of(const LayoutCheck& check) {
  std::vector<Row> rows;
  for (const PlannedRank& planned : check.planned) {
    const auto same = std::find_if(rows.begin(), rows.end(), [&](const Row& row) {
      const PlannedRank& other = *row.planned;
      return other.places[Axis::kPp] == planned.places[Axis::kPp] &&
             other.places[Axis::kTp] == planned.places[Axis::kTp] &&
             other.plan.bytes_at_peak == planned.plan.bytes_at_peak;
    });
    if (same == rows.end()) {
      rows.push_back({&planned, planned.stands_for, false});
    } else {
      same->ranks += planned.stands_for;
      same->all_of_dp = true;
    }
  }
  return rows;
}

// What has no column of its own is a buffer.
std::string memory_table(const LayoutCheck& check) {
  std::vector<std::string> head = {"rank", "at", "ranks"};
  std::vector<Align> align = {Align::kRight, Align::kLeft, Align::kRight};
  for (const char* category : kCategories) head.emplace_back(category);
  head.insert(head.end(), {"buffers", "all"});
  align.resize(head.size(), Align::kRight);
  Table table(head, align);
  const auto cells_of = [&](const Row& row) {
    const StepPlan& plan = row.planned->plan;
    std::vector<std::string> cells = {std::to_string(row.planned->rank), places_text(row), std::to_string(row.ranks)};
    std::map<std::string, std::size_t> left = plan.bytes_at_peak;
    for (const char* category : kCategories) cells.push_back(human_bytes(static_cast<double>(left[category])));
    for (const char* category : kCategories) left.erase(category);
    std::size_t buffers = 0;
    for (const auto& [category, bytes] : left) buffers += bytes;
    cells.push_back(human_bytes(static_cast<double>(buffers)));
    cells.push_back(human_bytes(static_cast<double>(plan.arena_bytes)));
    return cells;
  };
  const std::vector<Row> rows = rows_of(check);
  const std::size_t shown = std::min(kMostRows, rows.size());
  for (std::size_t i = 0; i < shown; ++i) table.row(cells_of(rows[i]));
  const auto worst = std::find_if(rows.begin(), rows.end(), [&](const Row& row) {
    return row.planned->plan.arena_bytes == check.planned[check.worst].plan.arena_bytes;
  });
  table.total(cells_of(*worst));
  return table.text(2) + (shown < rows.size()
                              ? fmt::format("  the last is the largest; {} more are left out\n", rows.size() - shown)
                              : "  the last is the largest\n");
}

std::string report(const LayoutCheck& check, const Layout& layout, double seconds) {
  std::size_t calls = 0;
  for (const PlannedRank& planned : check.planned) calls = std::max(calls, planned.plan.calls.size());
  std::string text = fmt::format(
      "{} on {} {}: {} parameters; {} planned for all of them, up to {} calls a step, in {}\n\n"
      "memory of a rank, byte for byte what its run takes:\n{}\n",
      to_string(layout.mesh), layout.mesh.ranks(), layout.mesh.ranks() == 1 ? "rank" : "ranks",
      human_count(static_cast<double>(check.parameters)), check.planned.size(),
      exact_count(static_cast<std::int64_t>(calls)), human_seconds(seconds), memory_table(check));
  if (check.problems.empty())
    return text +
           "holds: every call matches on all ranks and none waits for ever; every element of every tensor has one "
           "owner\n";
  text += fmt::format("does not hold ({} {}); this is a mistake of Trireme's: please report it\n",
                      check.problems.size(), check.problems.size() == 1 ? "reason" : "reasons");
  for (const std::string& problem : check.problems) text += "  " + problem + "\n";
  return text;
}

}  // namespace

void add_check_command(Command& program, ExitCode& exit_code) {
  auto flags = std::make_shared<ConfigurationFlags>();
  Command command = program.subcommand("check", "Prove on this CPU that a layout of any number of ranks will run");
  command.footer(
      "\nRuns the step's own code without numbers for every rank that can differ from the others; matches their calls\n"
      "with each other, looks for deadlocks and for elements without an owner, and prints the memory of each. Exits\n"
      "with 0 if all of it holds, else with 1. Needs neither the data nor a launcher.");
  flags->add(command, "mesh.tp=2").required();
  flags->add_ranks(command, "Of the run; decides mesh.dp. Default: what the mesh says");
  command.runs([flags, &exit_code] {
    LoadedRun loaded = flags->load();
    if (!loaded.run.mesh().has_dp()) loaded.run.mutable_mesh()->set_dp(1);
    check_plannable(loaded);
    const Layout layout = layout_of(loaded.run);
    const auto begin = std::chrono::steady_clock::now();
    const LayoutCheck check = check_layout(experiment_of(loaded.run), layout, batch_plan_of(loaded.run, 0));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    write_output(report(check, layout, seconds));
    if (!check.problems.empty()) exit_code = kDoesNotHold;
  });
}

}  // namespace trireme
