// A curve says what a column of numbers hides: whether the loss still falls, where it jumped, which of two runs is
// ahead. Here runs become one self-contained SVG that any browser shows, with no Python and no server.
//
// - Pure up to write_svg: the same runs give the same bytes.
// - Any input is drawn: no step yet, one step, values that are not finite (marked on the axis where they fell), spikes
//   (cut off at the frame, and said so), a hundred thousand steps (thinned to what the pixels can show).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace trireme {

enum class CurveStyle {
  kSmoothed,  // every value, faint, below a moving average
  kPoints,    // values joined by straight lines, each marked
};

struct Curve {
  std::string label;
  std::vector<double> x, y;  // of one length; x finite and rising, y anything
  CurveStyle style = CurveStyle::kSmoothed;
  int colour = 0;  // of the palette; curves of one run share one
};

struct LinePlot {
  std::string title, x_label, y_label;
  std::vector<Curve> curves;
};

// The training and validation loss of runs, by step. A run is its folder or its metrics.jsonl; fields "loss" and
// "validation_loss" are read. Lines that cannot be read are passed over with a warning. Throws UserError if a run
// cannot be read at all.
LinePlot loss_plot(const std::vector<std::filesystem::path>& runs);

// The picture, 960 x 540.
std::string svg(const LinePlot& plot);

// Throws UserError if the file cannot be written.
void write_svg(const LinePlot& plot, const std::filesystem::path& path);

// About `count` round numbers (1, 2 or 5 times a power of ten apart), from the last one not above `low` to the first
// one not below `high`. low < high, both finite.
std::vector<double> nice_ticks(double low, double high, int count);

// Mean of the finite values within `reach` places of each, as many on either side (fewer at the ends and beside the
// ends, so that a slope is not bent). NaN where the value itself is not finite.
std::vector<double> moving_average(const std::vector<double>& values, std::size_t reach);

}  // namespace trireme
