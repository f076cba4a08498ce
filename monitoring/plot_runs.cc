#include <cmath>
#include <fstream>

#include <fmt/format.h>

#include "monitoring/error.h"
#include "monitoring/log.h"
#include "monitoring/metrics_file.h"
#include "monitoring/plot.h"

namespace trireme {
namespace {

Curve curve_of(const MetricsRows& metrics, const char* field, CurveStyle style, int colour) {
  Curve curve{.label = "", .x = {}, .y = {}, .style = style, .colour = colour};
  for (const MetricsRow& row : metrics.rows) {
    const auto value = row.number(field);
    if (!value) continue;
    curve.x.push_back(static_cast<double>(row.step));
    curve.y.push_back(*value);
  }
  return curve;
}

// "training 2.3145": the last value, which is what one looks for.
std::string labelled(const std::string& name, const Curve& curve) {
  for (std::size_t i = curve.y.size(); i > 0; --i)
    if (std::isfinite(curve.y[i - 1])) return fmt::format("{} {:.4f}", name, curve.y[i - 1]);
  return name;
}

std::string run_name(const std::filesystem::path& run) {
  std::filesystem::path folder = std::filesystem::absolute(run).lexically_normal();
  if (folder.filename() == "metrics.jsonl" || folder.filename().empty()) folder = folder.parent_path();
  return folder.filename().string();
}

}  // namespace

LinePlot loss_plot(const std::vector<std::filesystem::path>& runs) {
  LinePlot plot{.title = runs.size() == 1 ? run_name(runs[0]) : fmt::format("{} runs", runs.size()),
                .x_label = "step",
                .y_label = "loss (nats per token)",
                .curves = {}};
  int colour = 0;
  for (const std::filesystem::path& run : runs) {
    const std::filesystem::path file = std::filesystem::is_directory(run) ? run / "metrics.jsonl" : run;
    const MetricsRows metrics = read_metrics(file);
    if (!metrics.problems.empty())
      log_warning("{}{}: passed over", metrics.problems[0],
                  metrics.problems.size() > 1 ? fmt::format(" (and {} more lines)", metrics.problems.size() - 1) : "");
    const std::string prefix = runs.size() == 1 ? "" : run_name(run) + " ";
    Curve training = curve_of(metrics, "loss", CurveStyle::kSmoothed, colour++);
    training.label = labelled(prefix + "training", training);
    // Beside other runs, the validation shares its run's colour.
    Curve validation =
        curve_of(metrics, "validation_loss", CurveStyle::kPoints, runs.size() == 1 ? colour : colour - 1);
    validation.label = labelled(prefix + "validation", validation);
    plot.curves.push_back(std::move(training));
    if (!validation.x.empty()) plot.curves.push_back(std::move(validation));
  }
  return plot;
}

void write_svg(const LinePlot& plot, const std::filesystem::path& path) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << svg(plot);
  out.close();
  if (!out)
    throw UserError(
        fmt::format("cannot write {}: check that the folder exists, may be written, and has room.", path.string()));
}

}  // namespace trireme
