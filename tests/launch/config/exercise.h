// What the fuzz targets do with their input, so that a test can replay the seeds without libFuzzer.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "launch/config/hugging_face.h"
#include "launch/config/load.h"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {

// Any bytes are a configuration or a UserError; what loads prints to something that loads to the same.
inline void exercise_configuration(std::span<const std::uint8_t> input) {
  const std::string text(input.begin(), input.end());
  if (text.find("from") != std::string::npos || text.find("path") != std::string::npos) return;  // no files here
  config::Run run;
  try {
    run = load_run_text(text, "fuzz.yaml", {}, 2).run;
  } catch (const UserError&) {
    return;
  }
  describe_cost(run);
  const std::string printed = print_run(run);
  CHECK(print_run(load_run_text(printed, "printed.yaml", {}, 2).run) == printed, printed);
}

// Any bytes are a model or problems, and never neither.
inline void exercise_hugging_face_config(std::span<const std::uint8_t> input) {
  const std::string text(input.begin(), input.end());
  Problems problems;
  const config::Model model = translate_hugging_face_config(text, "config.json", problems);
  CHECK(!problems.empty() || model.has_family(), "neither a model nor a problem");
  config::Run run;
  merge_hugging_face_model(model, run, Sources("run.yaml"), problems);
  for (const std::string& line : problems.lines()) CHECK(line.size() < 1000, line);
}

}  // namespace trireme
