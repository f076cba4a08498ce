// A run that dies must find a checkpoint that loads bit for bit, on any number of ranks, whenever it died. So a
// checkpoint has no layout: every run writes the same bytes whatever its mesh; and it appears whole or not at all, by
// one rename.
//
//   RUN/checkpoints/step-00000100/
//     model*.safetensors (+ index)   the parameters, under Hugging Face names, in the run's dtype
//     config.json, tokenizer.json    with them the directory opens in Hugging Face's libraries as it is
//     master*.safetensors            fp32 masters (the truth, of which 16-bit files are the rounding); none in fp32
//     first_moment*, second_moment*  of AdamW, fp32, under the same names
//     manifest.textproto             step, cursor, loss scale, digests, the experiment; written last
//
// Saving: save() copies the tensors to host memory and returns; threads of every rank then write, fsync and read back
// their parts, without talking to each other. The loop asks state() at each step's edge, and when every rank has
// written (or one has failed) all call finish() together: the leader proves that the parts cover every byte, writes the
// manifest and renames. One save at a time. A save that fails leaves the last good checkpoint intact, is reported and
// does not stop the run.
//
// Loading checks every digest, and that 16-bit weights are the rounding of the masters. Throws DamagedDataError naming
// file, tensor and byte range; UserError when the experiment differs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cuda/core/context.h"
#include "parallel/comm/communicator.h"
#include "parallel/placement/box.h"
#include "parallel/placement/param_spec.h"
#include "trainer/optim/progress.h"
#include "trainer/step/run_observer.h"

namespace trireme {

// Of data in one safetensors file. Files are split by it, so it is part of what "the same bytes" means.
inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{2} << 30;

// A box of a parameter that this rank holds; tensors have the box's shape. A rank may hold several of one parameter,
// which do not overlap, and none of another; boxes of two ranks are the same or do not overlap. A tied parameter is
// given as the one that it is tied to.
struct CheckpointParam {
  const ParamSpec* spec = nullptr;  // one of CheckpointState::specs
  Box box;
  Tensor master;         // f32
  Tensor first_moment;   // f32
  Tensor second_moment;  // f32
};

struct CheckpointState {
  std::int64_t step = 0;    // steps done
  std::int64_t cursor = 0;  // the next global sample
  OptimizerProgress progress{};
  DType dtype = DType::kF32;  // of the parameters
  std::string experiment;     // what may not change between attempts, as text; no layout in it
  std::string config_json;    // the files of these names
  std::string tokenizer_json;
  std::vector<const ParamSpec*> specs;  // the whole model's, without tied ones: they decide what the files are
  std::vector<CheckpointParam> params;
  std::string veto{};  // the leader's: why this save must fail; empty: nothing stands against it
};

struct Retention {
  int keep_last = 2;
  std::int64_t keep_every = 0;  // steps; 0: none
};

class CheckpointSaver {
 public:
  enum class State { kIdle, kWriting, kWritten, kFailed };
  struct Outcome {
    std::int64_t step = 0;
    std::string error;  // empty: committed
    double seconds = 0;
    std::size_t bytes = 0;
    std::filesystem::path path;
  };

  // `folder` is RUN/checkpoints, seen by all ranks. Collects leftovers of earlier attempts; a lower `attempt` than the
  // folder has seen is refused. Collective calls: the constructor, save, finish.
  CheckpointSaver(Context& context, Communicator& world, std::filesystem::path folder, Retention retention, int attempt,
                  std::uint64_t max_file_bytes = kMaxFileBytes);
  ~CheckpointSaver();  // gives up what is not finished

  void set_observer(RunObserver* observer);  // may be null; outlives this

  void save(const CheckpointState& state);  // CHECKs that none is under way
  State state() const;                      // of this rank; any time
  void wait();                              // until state() is not kWriting
  Outcome finish();                         // all ranks, when none is kWriting

 private:
  struct Job;
  std::unique_ptr<Job> job_;
};

struct PassedOver {
  std::filesystem::path path;
  std::string reason;
};
struct Resumed {
  std::filesystem::path path;
  std::int64_t step = 0;
  std::int64_t cursor = 0;
  OptimizerProgress progress{};
};

// Collective. Reads the newest checkpoint in `folder` that verifies into the tensors of state.params, box by box, on
// context.compute; older ones are tried in turn and each that was passed over is added to `passed_over`. Nothing if
// there is none at all. Throws DamagedDataError when there are some but none verifies; UserError when the experiment is
// another.
std::optional<Resumed> load_newest(Context& context, Communicator& world, const std::filesystem::path& folder,
                                   const CheckpointState& state, std::vector<PassedOver>& passed_over);
// That one.
Resumed load_checkpoint(Context& context, Communicator& world, const std::filesystem::path& checkpoint,
                        const CheckpointState& state);

// Reads weights alone, from the safetensors of any Hugging Face directory, into the masters. fp32, bf16 or fp16 there.
// Throws UserError naming a tensor that is missing or has another shape.
void load_weights(Context& context, const std::filesystem::path& directory, const std::vector<CheckpointParam>& params);

}  // namespace trireme
