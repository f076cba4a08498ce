// A schedule is understood when it is seen: the grid of the papers, as text.
#pragma once

#include <string>

#include "parallel/pipeline/simulate.h"

namespace trireme {

// Rows are ranks, columns units of time: `F0` or, where ranks hold several stages, `2F0`; a dot where nothing is
// computed. Grids wider than `width` characters are broken into several. Times in the timeline are whole numbers.
std::string draw_timeline(const Simulation& simulation, PipelineShape shape, std::size_t width);

}  // namespace trireme
