// A Hugging Face directory can stand for the model: its config.json is translated, and what it asks for that we do not
// implement is refused by name, because a model that is silently computed otherwise trains to a worse loss and nobody
// knows why. Field names and defaults are those of transformers' GPT2Config and LlamaConfig.
#pragma once

#include <string>
#include <string_view>

#include "launch/config/problems.h"
#include "launch/config/read.h"
#include "launch/run.pb.h"

namespace trireme {

enum class WeightFiles { kNone, kSafetensors, kOtherFormats };

struct HuggingFaceModel {
  config::Model model;  // every field that config.json decides
  WeightFiles weights = WeightFiles::kNone;
};

inline constexpr std::size_t kMaxHuggingFaceConfigBytes = 1 << 20;

// `file` is for messages. Everything that is not understood is a problem at `file`, about the field "model.from".
config::Model translate_hugging_face_config(std::string_view json, const std::string& file, Problems& problems);

// Reads DIR/config.json and looks for weights.
HuggingFaceModel read_hugging_face_directory(const std::string& dir, Problems& problems);

// Puts the translated model into `model`. A field that the user wrote must agree, but for dropout and init_std, which
// are no part of what was trained, and for a shorter sequence_length where positions have no table (llama).
void merge_hugging_face_model(const config::Model& theirs, config::Run& run, const Sources& sources,
                              Problems& problems);

}  // namespace trireme
