// Artificial models cut over artificial ranks, and checkpoints of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "parallel/placement/param_spec.h"
#include "tests/parallel/local_ranks.h"
#include "tests/scratch.h"
#include "trainer/checkpoint/checkpoint.h"

namespace trireme {

void flip_bit(const std::filesystem::path& path, std::uint64_t byte, int bit = 0);
std::map<std::string, std::string> files_of(const std::filesystem::path& folder);  // name -> bytes

// Q, KV, an MLP matrix, a norm and an embedding: fused and transposed as GPT-2's files have them, or apart as Llama's.
std::vector<ParamSpec> small_model(bool gpt2);

// A model and what its tensors hold: a function of (seed, parameter, kind, element).
struct Model {
  std::vector<ParamSpec> specs;
  DType dtype = DType::kF32;
  std::uint64_t seed = 1;
  std::int64_t step = 100;
  std::string experiment = "model {\n  layers: 2\n}\nseed: 7\n";
  // How ranks hold it, beside the cuts of the specs. Runs: dp deals out runs of the elements that are left, which are
  // several boxes. Staged: pp deals out whole parameters in turn, and its last place has a replica of the first.
  bool runs = false;
  bool staged = false;
};
float value_of(const Model& model, std::size_t param, int kind, std::int64_t element);  // kind: 0 master, 1, 2 moments

// A rank's boxes and their tensors, at the places that `tp` and `dp` cut it to; ranks that differ on pp are replicas
// unless the model is staged.
class HeldModel {
 public:
  enum class Fill { kValues, kZeros };
  HeldModel(LocalRank& rank, const Model& model, const std::vector<AxisPlaces>& places, Fill fill);

  const CheckpointState& state() const { return state_; }
  Context& context() { return context_; }
  void expect_values(const Model& model);  // EXPECTs every element, bit for bit
  void overwrite();                        // with other values

 private:
  LocalRank& rank_;
  Context context_;
  CheckpointState state_;
};

// Where rank r of tp x dp x replicas stands.
std::vector<AxisPlaces> grid(std::int64_t tp, std::int64_t dp, std::int64_t replicas = 1);
inline std::vector<AxisPlaces> alone() { return grid(1, 1); }

// Saves `model` into `folder` by as many ranks as there are places. Returns rank 0's outcome.
CheckpointSaver::Outcome save_model(const std::filesystem::path& folder, const Model& model,
                                    const std::vector<AxisPlaces>& places = alone(),
                                    std::uint64_t max_file_bytes = kMaxFileBytes, const Retention& retention = {},
                                    int attempt = 1);

// Loads the newest and EXPECTs that every rank gets the same one; `model` is what it must hold. Returns its step, -1 if
// there is none.
struct Loaded {
  std::int64_t step = -1;
  std::vector<PassedOver> passed_over;
  std::string damaged;  // what() of a DamagedDataError
  std::string refused;  // what() of a UserError
};
Loaded load_model(const std::filesystem::path& folder, const Model& model,
                  const std::vector<AxisPlaces>& places = alone());

}  // namespace trireme
