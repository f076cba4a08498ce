#include "trainer/generate/inference_model.h"

#include <algorithm>
#include <optional>

#include "cuda/core/shape_only.h"
#include "cuda/ops/shape_only.h"
#include "monitoring/error.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/model/hugging_face.h"
#include "trainer/model/transformer.h"
#include "trainer/step/device_batches.h"
#include "trainer/step/sample_losses.h"

namespace trireme {
namespace {

// The model on some device, shape-only or real.
class Network {
 public:
  Network(Context& context, const config::Model& model) : context_(context), model_(model) {
    stage_ = make_stage(model, {}, whole_model(model), list_);
    name_files(model, list_.specs());
    parameters_ = std::make_unique<Parameters>(context, list_.specs(), DType::kF32);
    caches_ = stage_->make_caches(context, DType::kF32, model.sequence_length());
  }

  void load(const std::filesystem::path& directory) {
    std::vector<CheckpointParam> params;
    for (ParamIndex index = 0; index < parameters_->count(); ++index)
      if (parameters_->owned(index))
        params.push_back({.spec = &parameters_->spec(index),
                          .box = whole(parameters_->spec(index).shape),
                          .master = parameters_->value(index),
                          .first_moment = {},
                          .second_moment = {}});
    load_weights(context_, directory, params);
  }

  void forget() {
    for (KvCache& cache : caches_) cache.filled = 0;
  }
  std::int64_t remembered() const { return caches_.front().filled; }

  // Logits [1, V] after these tokens, which follow the ones remembered.
  ArenaTensor extend(std::span<const std::int32_t> tokens) {
    const auto rows = static_cast<std::int64_t>(tokens.size());
    std::vector<std::int32_t> positions, keys;
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto position = static_cast<std::int32_t>(remembered() + i);
      positions.push_back(position);
      keys.push_back(0);
      keys.push_back(position + 1);
    }
    const auto upload = [&](const Shape& shape, const std::int32_t* values) {
      ArenaTensor tensor = context_.arena->allocate(shape, DType::kI32, "tokens");
      context_.device->upload(context_.compute, tensor, values);
      return tensor;
    };
    const ArenaTensor token_ids = upload({rows}, tokens.data());
    const ArenaTensor places = upload({rows}, positions.data());
    const ArenaTensor ranges = upload({rows, 2}, keys.data());
    const DeviceBatch batch{
        .rows = rows, .tokens = token_ids, .positions = places, .keys = ranges, .spans = {{0, rows, 0}}};
    return stage_->extend({.context = &context_, .parameters = parameters_.get(), .batch = &batch}, {}, caches_);
  }

  ArenaTensor sample_losses(const Batch& batch) {
    return trireme::sample_losses(context_, *parameters_, Order::kFast, {}, batch,
                                  [&](const Pass& pass) { stage_->evaluate(pass, {}); });
  }

 private:
  Context& context_;
  config::Model model_;
  ParamList list_;
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<Parameters> parameters_;
  KvCaches caches_;
};

std::size_t plan_bytes(const config::Model& model, std::int64_t samples) {
  ShapeOnlyDevice device;
  Arena arena(ShapeOnlyDevice::base(), Arena::kUnlimited);
  Context context{.device = &device, .ops = &shape_only_kernels(), .arena = &arena, .compute = {}};
  Network network(context, model);
  const auto rows = static_cast<std::size_t>(model.sequence_length());
  network.extend(std::vector<std::int32_t>(rows));
  network.sample_losses(shape_only_batch(samples, model.sequence_length()));
  return arena.peak_bytes();
}

}  // namespace

struct InferenceModel::State {
  State(Device& device, const Kernels& ops, const config::Model& which, std::int64_t samples)
      : model(which),
        bytes(plan_bytes(which, samples)),
        memory(device.allocate(bytes)),
        stream(device.create_stream(StreamKind::kCompute, "inference")),
        arena(std::in_place, memory, bytes),
        context{.device = &device, .ops = &ops, .arena = &*arena, .compute = stream},
        network(std::in_place, context, which) {}
  ~State() {
    network.reset();
    arena.reset();
    context.device->destroy_stream(stream);
    context.device->release(memory);
  }

  config::Model model;
  std::size_t bytes;
  std::byte* memory;
  Stream stream;
  std::optional<Arena> arena;
  Context context;
  std::optional<Network> network;
};

InferenceModel::InferenceModel(Device& device, const Kernels& ops, const config::Model& model,
                               const std::filesystem::path& directory, std::int64_t samples)
    : state_(std::make_unique<State>(device, ops, model, samples)) {
  state_->network->load(directory);
}

InferenceModel::~InferenceModel() = default;

ArenaTensor InferenceModel::sample_losses(const Batch& batch) { return state_->network->sample_losses(batch); }

Context& InferenceModel::context() { return state_->context; }

void InferenceModel::generate(std::span<const std::int32_t> prompt, std::int64_t tokens,
                              const SamplingOptions& sampling, const std::function<bool(std::int32_t)>& each) {
  check_sampling(sampling);
  const std::int64_t room = state_->model.sequence_length();
  if (prompt.empty()) throw UserError("a prompt of no tokens cannot be continued");
  Network& network = *state_->network;
  network.forget();
  std::vector<std::int32_t> text(prompt.begin(), prompt.end());
  std::vector<float> logits(static_cast<std::size_t>(state_->model.vocab_size()));
  std::size_t read = 0;  // tokens of the text that the network has seen
  for (std::int64_t made = 0; made < tokens; ++made) {
    if (network.remembered() + static_cast<std::int64_t>(text.size() - read) > room) {
      network.forget();
      read = text.size() - std::min(text.size(), static_cast<std::size_t>(std::max<std::int64_t>(1, room / 2)));
    }
    const ArenaTensor row = network.extend(std::span(text).subspan(read));
    read = text.size();
    state_->context.device->download(state_->context.compute, logits.data(), row);
    state_->context.device->synchronize(state_->context.compute);
    text.push_back(sample_token(logits, sampling, static_cast<std::int64_t>(text.size())));
    if (!each(text.back())) return;
  }
}

}  // namespace trireme
