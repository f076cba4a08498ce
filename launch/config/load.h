// The one entrance to a configuration: file, --set, model.from, defaults, checks. Whoever holds a LoadedRun holds one
// without known mistakes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/config/hugging_face.h"
#include "launch/config/read.h"
#include "launch/run.pb.h"

namespace trireme {

struct LoadedRun {
  config::Run run;  // resolved: every field that can be known is set
  Sources sources;  // where the user wrote what
};

// `overrides`: as given to --set. `ranks`: of the run, if known; else mesh.dp may stay unset. Throws UserError that
// lists all problems, each with its place.
LoadedRun load_run(const std::string& file, const std::vector<std::string>& overrides, std::optional<int> ranks);
// The same from text; `file` is for messages.
LoadedRun load_run_text(const std::string& text, const std::string& file, const std::vector<std::string>& overrides,
                        std::optional<int> ranks);

// Throws UserError that names everything this program cannot run yet, on any machine.
void check_plannable(const LoadedRun& loaded);
// Throws UserError that names everything this program cannot train yet, or that is missing to train here.
void check_runnable_here(const LoadedRun& loaded);

// As YAML that loads to the same run. What is not known is left out, with a comment that says when it will be.
std::string print_run(const config::Run& run);

// What the run costs, as YAML comments: parameters, memory per rank, FLOPs per token; what model.from holds.
std::string describe_cost(const config::Run& run);

}  // namespace trireme
