// What the user wrote, and where: reading keeps for every field the place that set it, so that any later complaint can
// point at it. Nothing is defaulted or compared here; see resolve.h and validate.h.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "launch/config/problems.h"
#include "launch/run.pb.h"

namespace trireme {

class Sources {
 public:
  explicit Sources(std::string file) : file_(std::move(file)) {}
  const std::string& file() const { return file_; }
  void record(const std::string& path, const std::string& location) { places_[path] = location; }
  bool by_user(std::string_view path) const { return places_.find(path) != places_.end(); }
  // "run.yaml:3:5" or "--set model.heads=3" if the user set it, else the file.
  const std::string& of(std::string_view path) const;

 private:
  std::string file_;
  std::map<std::string, std::string, std::less<>> places_;
};

// Fills a run from YAML. Unknown names, wrong types, values out of range and duplicates go to `problems`. Throws them
// at once when the text is no mapping at all: then nothing more can be said.
config::Run read_run(std::string_view text, Sources& sources, Problems& problems);

// "model.hidden_size=512" as given to --set; later ones win.
void apply_override(std::string_view assignment, config::Run& run, Sources& sources, Problems& problems);

}  // namespace trireme
