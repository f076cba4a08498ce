// Where our parameters lie in Hugging Face's tensors. Layers do not know these names; checkpoints know nothing else.
#pragma once

#include <vector>

#include "parallel/placement/param_spec.h"
#include "trainer/model.pb.h"

namespace trireme {

// Fills ParamSpec::files by parameter name. Tied parameters get none: their owner's file holds them.
void name_files(const config::Model& model, std::vector<ParamSpec>& specs);

}  // namespace trireme
