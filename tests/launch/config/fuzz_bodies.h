// What the fuzz targets do with their input, so that a test can replay the seeds without libFuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "launch/config/hugging_face.h"
#include "launch/config/load.h"
#include "monitoring/check.h"
#include "monitoring/error.h"

namespace trireme {

// Any bytes are a configuration or a UserError; what loads prints to something that loads to the same.
inline void fuzz_configuration(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
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
inline void fuzz_hugging_face_config(const std::uint8_t* data, std::size_t size) {
  Problems problems;
  const config::Model model = translate_hugging_face_config(std::string_view(reinterpret_cast<const char*>(data), size),
                                                            "config.json", problems);
  CHECK(!problems.empty() || model.has_family(), "neither a model nor a problem");
  config::Run run;
  merge_hugging_face_model(model, run, Sources("run.yaml"), problems);
  for (const std::string& line : problems.lines()) CHECK(line.size() < 1000, line);
}

}  // namespace trireme
