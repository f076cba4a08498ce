#include "launch/verify/verify_run.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include "launch/config/fields.h"
#include "launch/train/experiment.h"
#include "launch/verify/shrink.h"
#include "monitoring/error.h"
#include "monitoring/run_report.h"
#include "trainer/verify/verify.h"

namespace trireme {
namespace {

constexpr int kSteps = 3;
constexpr std::size_t kRowsShown = 20;

// A folder of its own below the system's for temporary files; gone with it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "trireme-verify-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw UserError("cannot make a folder like " + name +
                      " for trial checkpoints; set TMPDIR to where there is room");
    path_ = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string layout_text(const Layout& layout, std::int64_t micro_batch) {
  std::string text = fmt::format("dp={} pp={} tp={}", layout.mesh.dp, layout.mesh.pp, layout.mesh.tp);
  if (layout.zero_stage > 0) text += fmt::format(" zero={}", layout.zero_stage);
  if (layout.mesh.pp > 1) {
    text += " " + enum_spelling(*config::Pipeline::Schedule_descriptor()->FindValueByNumber(layout.schedule));
    if (layout.chunks > 1) text += fmt::format(" chunks={}", layout.chunks);
  }
  if (layout.recompute.any()) text += " recompute=" + to_string(layout.recompute);
  return text + fmt::format(" micro-batch={}", micro_batch);
}

std::string number(double value) { return fmt::format("{:.3g}", value); }

// The rows that are beyond their bounds; "" where there are none.
std::string comparison_table(const Verification& verification) {
  Table table({"what", "element", "difference", "bound", ""},
              {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kLeft});
  std::size_t shown = 0;
  std::size_t wrong = 0;
  for (const Compared& row : verification.compared) {
    if (row.agrees) continue;
    if (++wrong > kRowsShown) continue;
    ++shown;
    table.row({row.what, row.element < 0 ? "" : std::to_string(row.element), number(row.difference),
               row.bound == 0 ? "the same bits" : number(row.bound), "DIFFERS"});
  }
  if (shown == 0) return "";
  std::string text = table.text(2);
  if (wrong > shown) text += fmt::format("  ... and {} more\n", wrong - shown);
  return text;
}

std::string closest(const Verification& verification) {
  const Compared* nearest = nullptr;
  for (const Compared& row : verification.compared)
    if (row.bound > 0 && (nearest == nullptr || row.difference / row.bound > nearest->difference / nearest->bound))
      nearest = &row;
  if (nearest == nullptr) return "";
  return fmt::format("; nearest to its bound: {}, {} of {}", nearest->what, number(nearest->difference),
                     number(nearest->bound));
}

// One comparison, in words; and whose fault it is.
bool verify_one(const char* promise, const Shrunk& shrunk, const Layout& layout, const std::filesystem::path& scratch,
                const TrialSeams* seams, TrialProcesses* processes, std::string& text) {
  const std::int64_t micro_batch = shrunk.run.train().micro_batch();
  const Reference reference(experiment_of(shrunk.run), kSteps, scratch, seams, processes);
  const Verification verification = reference.verify(layout, micro_batch);
  text += fmt::format("\n{}, on {}:\n", promise, layout_text(layout, micro_batch));
  if (verification.agrees) {
    text += fmt::format("  {} values and tensors agree{}\n", verification.compared.size(), closest(verification));
    return true;
  }
  for (std::size_t i = 0; i < std::min(kRowsShown, verification.problems.size()); ++i)
    text += "  " + verification.problems[i] + "\n";
  text += comparison_table(verification);
  std::vector<std::string> culprits = find_culprits(reference, layout, micro_batch);
  if (culprits.empty()) {
    text += "  No one axis is to blame: it differs without any of them too.\n";
  } else {
    for (const std::string& culprit : culprits) text += "  Without " + culprit + " it agrees.\n";
  }
  return false;
}

void require_processes(const MeshShape& mesh, int processes) {
  if (mesh.ranks() <= processes) return;
  throw UserError(fmt::format(
      "shrunk, this layout is {}: {} ranks, but there are {} processes. Start {} of them (mpirun -n {} trireme "
      "verify ...), or none: without mpirun the ranks are threads of one process",
      to_string(mesh), mesh.ranks(), processes, mesh.ranks(), mesh.ranks()));
}

}  // namespace

VerifyReport verify_run(const config::Run& run, const TrialSeams* seams, TrialProcesses* processes) {
  Shrunk shrunk = shrink(run);
  VerifyReport report{.text = {}, .agrees = true, .lost = {}};
  if (!shrunk.changes.empty()) {
    Table table({"shrunk", "from", "to"}, {Align::kLeft, Align::kRight, Align::kRight});
    for (const Shrunk::Change& change : shrunk.changes) table.row({change.field, change.from, change.to});
    report.text += table.text();
  }
  const Layout layout = layout_of(shrunk.run);
  if (processes != nullptr) require_processes(layout.mesh, processes->size());
  report.text += fmt::format("{} ranks as {}, {} steps\n", layout.mesh.ranks(),
                             processes == nullptr ? "threads" : "processes", kSteps);
  Layout whole_layers = layout;
  whole_layers.mesh.tp = 1;
  Shrunk exact = shrunk;
  exact.run.set_numerics(config::exact);
  std::optional<ScratchFolder> own;
  if (processes == nullptr || processes->leads()) own.emplace();
  try {
    std::filesystem::path scratch = own ? own->path() : "";
    if (processes != nullptr) scratch = processes->word(scratch.string(), "where trials are saved");
    report.agrees &= verify_one("fast numerics in fp32, within bounds", with_bounded_optimizer(shrunk), layout, "",
                                seams, processes, report.text);
    report.agrees &= verify_one("exact numerics, bit for bit, checkpoint included", exact, whole_layers, scratch, seams,
                                processes, report.text);
  } catch (const PeerError& error) {
    report.agrees = false;
    report.lost = error.what();
    report.text += "\nA rank did not get through:\n  " + report.lost + "\n";
  }
  report.text += report.agrees         ? "\nThe layout is not part of this experiment.\n"
                 : report.lost.empty() ? "\nThe layout CHANGES what is learned: see above.\n"
                                       : "\nThe layout was not tried to the end.\n";
  return report;
}

}  // namespace trireme
