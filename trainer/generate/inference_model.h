// A trained model to ask: the weights of a checkpoint (or any Hugging Face directory of the families), in fp32, without
// gradients or optimizer. Memory is planned as in training: by running shape-only what will be run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cuda/core/context.h"
#include "dataloader/batch/batch.h"
#include "trainer/generate/sampling.h"
#include "trainer/model.pb.h"

namespace trireme {

class InferenceModel {
 public:
  // `model` is resolved (a directory's config.json, read by launch/). `samples` is how many samples sample_losses takes
  // at once. Throws UserError or DamagedDataError naming the tensor that is missing or wrong.
  InferenceModel(Device& device, const Kernels& ops, const config::Model& model, const std::filesystem::path& directory,
                 std::int64_t samples = 1);
  ~InferenceModel();

  // trainer/step/sample_losses.h
  ArenaTensor sample_losses(const Batch& batch);
  Context& context();

  // Continues `prompt` (at least one token) by up to `tokens` tokens, calling each as it comes; ends early where it
  // returns false. Past the context length the text so far is cut to its second half, which is read again.
  void generate(std::span<const std::int32_t> prompt, std::int64_t tokens, const SamplingOptions& sampling,
                const std::function<bool(std::int32_t)>& each);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
