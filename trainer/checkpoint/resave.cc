#include "trainer/checkpoint/resave.h"

#include <deque>

#include "cuda/core/device_memory.h"
#include "cuda/core/shape_only.h"
#include "monitoring/error.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/verify.h"
#include "trainer/model/hugging_face.h"
#include "trainer/model/transformer.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

// A model's masters and moments, and nothing to compute with them.
class HeldTensors {
 public:
  HeldTensors(Arena& arena, const ParamList& list) {
    for (const ParamSpec& spec : list.specs()) {
      if (!spec.tied_to.empty()) continue;
      const auto hold = [&] {
        return Tensor(owners_.emplace_back(arena.allocate(spec.shape, DType::kF32, "resaved")));
      };
      params_.push_back(
          {.spec = &spec, .box = whole(spec.shape), .master = hold(), .first_moment = hold(), .second_moment = hold()});
    }
  }
  const std::vector<CheckpointParam>& params() const { return params_; }

 private:
  std::deque<ArenaTensor> owners_;
  std::vector<CheckpointParam> params_;
};

// Memory and a stream that go with it, whatever is thrown.
struct DeviceGround {
  DeviceGround(Device& on, std::size_t bytes)
      : device(on), memory(on, bytes), stream(on.create_stream(StreamKind::kCompute, "resave")) {}
  ~DeviceGround() { device.destroy_stream(stream); }
  DeviceGround(const DeviceGround&) = delete;
  DeviceGround& operator=(const DeviceGround&) = delete;

  Device& device;
  DeviceMemory memory;
  Stream stream;
};

DType dtype_named(const std::string& name, const fs::path& path) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16})
    if (name == name_of(dtype)) return dtype;
  throw DamagedDataError(path.string() + ": its manifest names the dtype \"" + name + "\"");
}

}  // namespace

void resave(Device& device, const Kernels& ops, Communicator& world, const config::Model& model, const fs::path& in,
            const fs::path& out) {
  if (fs::exists(out)) throw UserError(out.string() + " exists already; name a folder that does not");
  CheckpointState state;
  {
    const OpenCheckpoint checkpoint(in);
    const proto::CheckpointManifest& manifest = checkpoint.manifest();
    state = {.step = manifest.step(),
             .cursor = manifest.cursor(),
             .progress = progress_of(manifest),
             .dtype = dtype_named(manifest.dtype(), in),
             .experiment = manifest.experiment(),
             .config_json = checkpoint.plain_file("config.json"),
             .tokenizer_json = checkpoint.plain_file("tokenizer.json"),
             .specs = {},
             .params = {}};
  }
  ParamList list;
  make_stage(model, {}, whole_model(model), list);
  name_files(model, list.specs());

  Arena plan(ShapeOnlyDevice::base(), Arena::kUnlimited);
  { const HeldTensors planned(plan, list); }
  const DeviceGround ground(device, plan.peak_bytes());
  Arena arena(ground.memory.begin(), plan.peak_bytes());
  Context context{.device = &device, .ops = &ops, .arena = &arena, .compute = ground.stream};
  const HeldTensors held(arena, list);
  state.params = held.params();
  for (const CheckpointParam& param : state.params) state.specs.push_back(param.spec);
  load_checkpoint(context, world, in, state);

  const fs::path folder = out.string() + ".resaving";
  CheckpointSaver::Outcome outcome;
  {
    CheckpointSaver saver(context, world, folder, {}, 1);
    saver.save(state);
    outcome = saver.finish();
  }
  std::error_code error;
  if (world.rank() == 0) {
    if (outcome.error.empty()) fs::rename(outcome.path, out, error);
    if (error) outcome.error = error.message();
    fs::remove_all(folder, error);
  }
  for (const std::string& problem : world.gather_to_all(outcome.error, {state.step, "resaved"}))
    if (!problem.empty()) throw UserError("cannot write " + out.string() + ": " + problem);
}

}  // namespace trireme
