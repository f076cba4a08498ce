// Where our parameters lie in Hugging Face's tensors. Layers do not know these names; checkpoints know nothing else.
#pragma once

#include <string>
#include <vector>

#include "parallel/placement/param_spec.h"
#include "trainer/model.pb.h"

namespace trireme {

// Fills ParamSpec::files by parameter name. Tied parameters get none: their owner's file holds them.
void name_files(const config::Model& model, std::vector<ParamSpec>& specs);

// The config.json with which Hugging Face's libraries open a directory of such weights, in `dtype`.
std::string hugging_face_config(const config::Model& model, DType dtype, std::int64_t end_of_document);

}  // namespace trireme
