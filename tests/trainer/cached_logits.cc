#include "tests/trainer/cached_logits.h"

namespace trireme {

CachedText::CachedText(SmallRun& run, std::int64_t capacity)
    : run_(run),
      caches_(run.step().stage().make_caches(run.rank().context(), run.step().parameters().dtype(), capacity)) {}

std::vector<double> CachedText::extend(const std::vector<std::int32_t>& tokens) {
  Context& context = run_.rank().context();
  const auto rows = static_cast<std::int64_t>(tokens.size());
  std::vector<std::int32_t> positions, keys;
  for (std::int64_t i = 0; i < rows; ++i) {
    positions.push_back(static_cast<std::int32_t>(caches_.front().filled + i));
    keys.push_back(0);
    keys.push_back(positions.back() + 1);
  }
  std::vector<ArenaTensor> owners;
  const auto upload = [&](const Shape& shape, const std::vector<std::int32_t>& values) {
    owners.push_back(context.arena->allocate(shape, DType::kI32, "tokens"));
    context.device->upload(context.compute, owners.back(), values.data());
    return *owners.back();
  };
  DeviceBatch batch;
  batch.rows = rows;
  batch.tokens = upload({rows}, tokens);
  batch.positions = upload({rows}, positions);
  batch.keys = upload({rows, 2}, keys);
  batch.spans = {{0, rows, 0}};
  const Pass pass{.context = &context, .parameters = &run_.step().parameters(), .batch = &batch};
  return run_.rank().read(run_.step().stage().extend(pass, {}, caches_));
}

}  // namespace trireme
