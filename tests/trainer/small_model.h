// Models and batches for tests: small, of odd sizes, and with everything switched on that a layout could get wrong.
#pragma once

#include <string>
#include <vector>

#include "dataloader/batch/batch.h"
#include "tests/trainer/oracle/decoder.h"
#include "trainer/step/training_step.h"

namespace trireme {

// hidden 24, 3 heads, vocabulary 37, context 9; llama: 1 head of K and V, ffn 40, tied or not.
config::Model small_model(config::Model::Family family, bool tied);
Experiment small_experiment(const config::Model& model, std::int64_t global_batch);
// Dropout of both kinds, label smoothing and z-loss.
void make_noisy(Experiment& experiment);

// Samples [begin, end), each a function of its index: several documents, its own share of masked targets (some samples
// have next to none that count), indices beyond 32 bits.
Batch small_batch(const config::Model& model, SampleRange samples);
// The micro-batches of `plan.rank` in `step` (0-based).
std::vector<Batch> small_micro_batches(const config::Model& model, const BatchPlan& plan, std::int64_t step);

// The same for the oracle.
oracle::Decoder decoder_of(const Experiment& experiment);
std::vector<oracle::Token> tokens_of(const Batch& batch);

// Values as the oracle takes them: normal ones, by name and element; norms' weights about 1.
oracle::Tensors random_parameters(const ParamList& list, double deviation);

}  // namespace trireme
