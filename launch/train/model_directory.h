// generate and eval take what people have at hand: a run, one of its checkpoints, or any Hugging Face directory of the
// families.
#pragma once

#include <filesystem>

#include "trainer/model.pb.h"

namespace trireme {

struct ModelDirectory {
  std::filesystem::path path;  // with config.json and weights
  config::Model model;         // resolved
};

// `where`: such a directory, or a run, of which the newest checkpoint is taken. Throws UserError that says what was
// looked for.
ModelDirectory open_model_directory(const std::filesystem::path& where);

}  // namespace trireme
