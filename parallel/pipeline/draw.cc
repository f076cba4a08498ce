#include "parallel/pipeline/draw.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace trireme {

std::string draw_timeline(const Simulation& simulation, PipelineShape shape, std::size_t width) {
  const auto columns = static_cast<std::size_t>(std::lround(simulation.makespan));
  std::vector<std::vector<std::string>> cells;  // [rank][column]
  std::size_t cell_width = 1;
  for (const std::vector<Slot>& slots : simulation.timeline) {
    std::vector<std::string>& row = cells.emplace_back(columns, ".");
    for (const Slot& slot : slots) {
      std::string name = to_string(slot.instruction);
      if (shape.chunks == 1) name.erase(0, name.find_first_not_of("0123456789"));
      cell_width = std::max(cell_width, name.size());
      for (auto column = static_cast<std::size_t>(std::lround(slot.begin));
           column < static_cast<std::size_t>(std::lround(slot.end)); ++column)
        row[column] = name;
    }
  }
  const std::string last_rank = std::to_string(cells.size() - 1);
  const std::size_t heading = std::string("rank ").size() + last_rank.size();
  const std::size_t at_once = std::max<std::size_t>(1, (std::max(width, heading) - heading) / (cell_width + 1));

  std::string text;
  for (std::size_t first = 0; first < columns; first += at_once) {
    const std::size_t last = std::min(columns, first + at_once);
    if (columns > at_once)
      text += (first > 0 ? "\ntime " : "time ") + std::to_string(first) + " to " + std::to_string(last) + "\n";
    for (std::size_t rank = 0; rank < cells.size(); ++rank) {
      std::string line = "rank " + std::to_string(rank);
      line.resize(heading, ' ');
      for (std::size_t column = first; column < last; ++column) {
        line += ' ';
        line += cells[rank][column];
        line.resize(line.size() + cell_width - cells[rank][column].size(), ' ');
      }
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
  }
  return text;
}

}  // namespace trireme
