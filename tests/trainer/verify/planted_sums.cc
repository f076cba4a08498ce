#include "tests/trainer/verify/planted_sums.h"

#include <algorithm>

#include "cuda/host/host_device.h"
#include "tests/trainer/verify/planted_communicator.h"
#include "tests/trainer/verify/planted_rank.h"

namespace trireme {
namespace {

constexpr std::int64_t kBlock = 1024;  // of Kernels::square_sums

bool lies_in(const Tensor& part, const Tensor& whole) {
  return part.data >= whole.data && part.data + part.bytes() <= whole.data + whole.bytes();
}

bool reduces_the_table(const PlantedCall& call) { return call.group == "dp" && call.is_about("embedding.tokens"); }

// The table's comes after the positions': what is noted last is the table's.
void note_contribution(Stream stream, Tensor dtable, Tensor ids, Tensor dy, std::int64_t first) {
  PlantedRank& self = planted_rank();
  self.late = {dtable, self.zeros(dtable.shape), self.zeros(dtable.shape)};
  host_kernels().copy(stream, self.late.before, dtable);
  host_kernels().embedding_backward(stream, self.late.last, ids, dy, first);
  host_kernels().embedding_backward(stream, dtable, ids, dy, first);
}

void take_back_the_last(const PlantedCall& call, Stream stream, Tensor bucket) {
  const PlantedRank::Late& late = planted_rank().late;
  if (call.ranks > 1 && reduces_the_table(call) && lies_in(late.gradient, bucket))
    host_kernels().copy(stream, late.gradient, late.before);
}

// `sum`: the whole bucket, or the part of it that is this rank's.
void add_the_last(const PlantedCall& call, Stream stream, Tensor sum) {
  const PlantedRank::Late& late = planted_rank().late;
  if (call.ranks == 1 || !reduces_the_table(call)) return;
  constexpr auto kBytes = static_cast<std::ptrdiff_t>(bytes_of(DType::kF32));
  const std::int64_t at = (sum.data - late.gradient.data) / kBytes;  // of the sum, in elements of the gradient
  const std::int64_t begin = std::max<std::int64_t>(0, at);
  const std::int64_t end = std::min(late.gradient.elements(), at + sum.elements());
  if (begin < end) host_kernels().add(stream, late.gradient.flat(begin, end), late.last.flat(begin, end));
}

void note_replicas(const PlantedCall& call, Stream, Tensor gradients) {
  if (call.is_about("replicas of")) planted_rank().replicated.push_back({gradients, call.ranks});
}

void count_replicas_as_often_as_held(Stream stream, Tensor sums, Tensors x) {
  host_kernels().square_sums(stream, sums, x);
  PlantedRank& self = planted_rank();
  std::int64_t at = 0;
  for (const Tensor& each : x) {
    const std::int64_t blocks = (each.elements() + kBlock - 1) / kBlock;
    int holders = 1;
    for (const PlantedRank::Replicated& replicated : self.replicated)
      if (lies_in(each, replicated.gradients)) holders = replicated.ranks;
    const Tensor again = self.zeros({blocks});
    host_kernels().square_sums(stream, again, {&each, 1});
    for (int holder = 1; holder < holders; ++holder) host_kernels().add(stream, sums.rows(at, at + blocks), again);
    at += blocks;
  }
}

}  // namespace

TrialSeams bucket_reduced_early() {
  TrialSeams seams = planted_ops([](Kernels& planted) { planted.embedding_backward = note_contribution; });
  seams.world = [](std::unique_ptr<Communicator> honest, Device& device) {
    return lead_astray(std::move(honest), device,
                       {.leave_out = {}, .before_sum = take_back_the_last, .after_sum = add_the_last});
  };
  return seams;
}

TrialSeams replicas_counted_by_all() {
  TrialSeams seams = planted_ops([](Kernels& planted) { planted.square_sums = count_replicas_as_often_as_held; });
  seams.world = [](std::unique_ptr<Communicator> honest, Device& device) {
    return lead_astray(std::move(honest), device, {.leave_out = {}, .before_sum = note_replicas, .after_sum = {}});
  };
  return seams;
}

}  // namespace trireme
