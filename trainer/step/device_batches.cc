#include "trainer/step/device_batches.h"

#include <cstdint>

namespace trireme {
namespace {

struct RowPlaces {
  std::vector<std::int32_t> keys;    // [R, 2]
  std::vector<std::int64_t> sample;  // [R]
  std::vector<std::int32_t> offset;  // [R]
};

// Elements of the rows held, and `padding` up to a share.
template <class T>
std::vector<T> share_of(const std::vector<T>& all, RowRange held, std::int64_t share, T padding) {
  std::vector<T> part(all.begin() + held.begin, all.begin() + held.end);
  part.resize(static_cast<std::size_t>(share), padding);
  return part;
}

RowPlaces places_of(const Batch& batch) {
  RowPlaces places;
  const std::int64_t rows = batch.samples * batch.sequence_length;
  places.keys.reserve(2 * static_cast<std::size_t>(rows));
  places.sample.reserve(static_cast<std::size_t>(rows));
  places.offset.reserve(static_cast<std::size_t>(rows));
  for (std::int64_t s = 0; s < batch.samples; ++s)
    for (std::int64_t t = 0; t < batch.sequence_length; ++t) {
      const std::int64_t first = s * batch.sequence_length;
      const std::int32_t begin = batch.key_begin[static_cast<std::size_t>(first + t)];
      places.keys.push_back(static_cast<std::int32_t>(first + begin));
      places.keys.push_back(static_cast<std::int32_t>(first + t + 1));
      places.sample.push_back(batch.sample_index[static_cast<std::size_t>(s)]);
      places.offset.push_back(static_cast<std::int32_t>(t));
    }
  return places;
}

}  // namespace

Batch shape_only_batch(std::int64_t samples, std::int64_t sequence_length) {
  const auto rows = static_cast<std::size_t>(samples * sequence_length);
  Batch batch;
  batch.samples = samples;
  batch.sequence_length = sequence_length;
  batch.tokens.resize(rows);
  batch.targets.resize(rows);
  batch.loss_mask.resize(rows, 1);
  batch.positions.resize(rows);
  batch.key_begin.resize(rows);
  batch.sample_index.resize(static_cast<std::size_t>(samples));
  return batch;
}

DeviceBatches::DeviceBatches(Context& context, std::span<const Batch> batches, const SpanRule& rule,
                             const TensorGroup& group) {
  std::int64_t samples_before = 0;
  for (const Batch& batch : batches) {
    const std::int64_t rows = batch.samples * batch.sequence_length;
    const auto upload = [&](const Shape& shape, DType dtype, const void* values) {
      owners_.push_back(context.arena->allocate(shape, dtype, "tokens"));
      const Tensor tensor = owners_.back();
      context.device->upload(context.compute, tensor, values);
      return tensor;
    };
    const RowPlaces places = places_of(batch);
    DeviceBatch device{.rows = rows};
    device.tokens = upload({rows}, DType::kI32, batch.tokens.data());
    device.targets = upload({rows}, DType::kI32, batch.targets.data());
    device.weights = upload({rows}, DType::kF32, batch.loss_mask.data());
    device.positions = upload({rows}, DType::kI32, batch.positions.data());
    device.keys = upload({rows, 2}, DType::kI32, places.keys.data());
    device.ids.sample = upload({rows}, DType::kI64, places.sample.data());
    device.ids.offset = upload({rows}, DType::kI32, places.offset.data());
    if (rule.kind == SpanRule::Kind::kWhole) {
      device.spans.push_back({0, rows, 0});
    } else {
      for (std::int64_t s = 0; s < batch.samples; ++s)
        device.spans.push_back({s * batch.sequence_length, (s + 1) * batch.sequence_length,
                                static_cast<int>((samples_before + s) / rule.samples_per_group)});
    }
    if (!group.alone()) {
      const std::int64_t share = group.share(rows);
      const RowRange held = group.held(rows);
      device.held.emplace();
      device.held->positions = upload({share}, DType::kI32, share_of(batch.positions, held, share, -1).data());
      device.held->ids.sample =
          upload({share}, DType::kI64, share_of(places.sample, held, share, std::int64_t{0}).data());
      device.held->ids.offset = upload({share}, DType::kI32, share_of(places.offset, held, share, 0).data());
      for (const RowSpan& span : device.spans) {
        const RowRange here = intersect({span.begin, span.end}, held);
        if (here.size() > 0) device.held->spans.push_back({here.begin - held.begin, here.end - held.begin, span.group});
      }
    }
    samples_before += batch.samples;
    batches_.push_back(std::move(device));
  }
}

}  // namespace trireme
