#include "tests/trainer/verify/plants.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "cuda/host/host_device.h"
#include "tests/trainer/verify/planted_communicator.h"
#include "tests/trainer/verify/planted_rank.h"
#include "tests/trainer/verify/planted_sums.h"

namespace trireme {
namespace {

TrialSeams without_calls(bool (*which)(const PlantedCall&)) {
  TrialSeams seams;
  seams.world = [which](std::unique_ptr<Communicator> honest, Device& device) {
    return lead_astray(std::move(honest), device, {.leave_out = which, .before_sum = {}, .after_sum = {}});
  };
  return seams;
}

// The first stage takes its first two micro-batches in the other order than the stages behind it.
void swap_first_two(Schedule& schedule, const AxisPlaces& at) {
  if (at[Axis::kPp].parts == 1 || at[Axis::kPp].index != 0) return;
  for (Instruction& each : schedule)
    if (each.micro_batch < 2) each.micro_batch = 1 - each.micro_batch;
}

TrialSeams scheduled(void (*change)(Schedule&, const AxisPlaces&)) {
  TrialSeams seams;
  seams.step.schedule = change;
  return seams;
}

TrialSeams loss_averaged_per_rank() {
  TrialSeams seams = planted_ops([](Kernels& planted) {
    planted.reciprocal = [](Stream stream, Tensor ratio, Tensor count, Tensor) {
      const Tensor part = planted_rank().zeros({1});
      host_kernels().fill(stream, part, 1 / static_cast<float>(places(Axis::kDp)));
      host_kernels().reciprocal(stream, ratio, count, part);
    };
  });
  seams.world =
      without_calls([](const PlantedCall& call) { return call.group == "dp" && call.is_about("token count"); }).world;
  return seams;
}

TrialSeams rate_counted_per_micro_batch() {
  TrialSeams seams = planted_ops([](Kernels& planted) {
    planted.adamw = [](Stream stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients,
                       StepControl control, AdamW options) {
      PlantedRank& self = planted_rank();
      if (self.first_rate < 0) self.first_rate = options.learning_rate;
      const float fallen = self.first_rate - options.learning_rate;
      if (self.micro_batches > 1)
        options.learning_rate = std::max(0.0f, self.first_rate - static_cast<float>(self.micro_batches) * fallen);
      host_kernels().adamw(stream, parameters, masters, m, v, gradients, control, options);
    };
  });
  seams.step = scheduled([](Schedule& schedule, const AxisPlaces&) {
                 for (const Instruction& each : schedule)
                   planted_rank().micro_batches = std::max(planted_rank().micro_batches, each.micro_batch + 1);
               }).step;
  return seams;
}

// What pads a parameter to the end of its last block is not zero, and is read with it.
void square_sums_with_padding(Stream stream, Tensor sums, Tensors x) {
  constexpr std::int64_t kBlock = 1024;
  std::vector<Tensor> padded(x.begin(), x.end());
  for (Tensor& each : padded) {
    const std::int64_t end = (each.elements() + kBlock - 1) / kBlock * kBlock;
    host_kernels().fill(stream, {each.data + each.bytes(), DType::kF32, {end - each.elements()}}, 1);
    each.shape = {end};
  }
  host_kernels().square_sums(stream, sums, padded);
}

// Local places of rows, as if each rank's first row were the batch's.
RowIds rows_of_the_first(std::int64_t count) {
  const Tensor sample = planted_rank().zeros({2 * count});
  const Tensor offset = planted_rank().zeros({count});
  std::vector<std::int32_t> offsets(static_cast<std::size_t>(count));
  std::iota(offsets.begin(), offsets.end(), 0);
  std::memcpy(offset.data, offsets.data(), offset.bytes());
  return {{sample.data, DType::kI64, {count}}, {offset.data, DType::kI32, {count}}};
}

}  // namespace

std::span<const Plant> all_plants() {
  static const std::vector<Plant> plants = {
      {"loss-averaged-per-rank",
       "the loss is averaged over each rank's own tokens, then over ranks, however unlike their masks",
       loss_averaged_per_rank()},
      {"sharded-norm-counted-once", "of what tp cuts, the clipping norm counts one rank's part alone",
       planted_ops([](Kernels& planted) {
         planted.square_sums = [](Stream stream, Tensor sums, Tensors x) {
           host_kernels().square_sums(stream, sums, x);
           if (place(Axis::kTp) > 0) host_kernels().fill(stream, sums, 0);
         };
       })},
      {"replicas-counted-by-all", "the clipping norm counts what tp does not cut once for each rank that holds it",
       replicas_counted_by_all()},
      {"sequence-parallel-gradients-not-summed",
       "gradients of norms and biases, of which each rank of tp has its own rows', are not summed over tp",
       without_calls([](const PlantedCall& call) {
         return call.op == "all_reduce" && call.is_about("replicas of") && !call.is_about("attention.kv");
       })},
      {"kv-replicas-not-summed", "heads of K and V are replicated over tp, and their gradients are not summed",
       without_calls([](const PlantedCall& call) {
         return call.op == "all_reduce" && call.is_about("replicas of") && call.is_about("attention.kv");
       })},
      {"tied-embedding-not-summed",
       "the first and the last stage keep their own gradients of the embedding that they share",
       without_calls([](const PlantedCall& call) {
         return call.group == "pp" && call.op == "exchange" && call.is_about("tied");
       })},
      {"label-smoothing-over-a-slice", "under a vocabulary split, label smoothing divides by the slice's columns",
       planted_ops([](Kernels& planted) {
         planted.cross_entropy_loss = [](Stream stream, Tensor loss, Tensor statistics, Tensor weights,
                                         CrossEntropy options) {
           options.vocabulary = options.valid_columns;
           host_kernels().cross_entropy_loss(stream, loss, statistics, weights, options);
         };
         planted.cross_entropy_backward = [](Stream stream, Tensor dlogits, Tensor logits, Tensor statistics,
                                             Tensor targets, Tensor weights, Tensor scale, CrossEntropy options) {
           options.vocabulary = options.valid_columns;
           host_kernels().cross_entropy_backward(stream, dlogits, logits, statistics, targets, weights, scale, options);
         };
       })},
      {"exponentials-of-a-slice",
       "under a vocabulary split, the log of the sum of exponentials is that of the first slice",
       planted_ops([](Kernels& planted) {
         planted.cross_entropy_merge = [](Stream stream, Tensor statistics, Tensor parts) {
           host_kernels().cross_entropy_merge(stream, statistics, parts.rows(0, 1));
         };
       })},
      {"z-loss-of-every-slice", "under a vocabulary split, each rank adds the z-loss, which is one for all of them",
       planted_ops([](Kernels& planted) {
         planted.cross_entropy_loss = [](Stream stream, Tensor loss, Tensor statistics, Tensor weights,
                                         CrossEntropy options) {
           options.z_loss *= static_cast<float>(places(Axis::kTp));
           host_kernels().cross_entropy_loss(stream, loss, statistics, weights, options);
         };
         planted.cross_entropy_backward = [](Stream stream, Tensor dlogits, Tensor logits, Tensor statistics,
                                             Tensor targets, Tensor weights, Tensor scale, CrossEntropy options) {
           options.z_loss *= static_cast<float>(places(Axis::kTp));
           host_kernels().cross_entropy_backward(stream, dlogits, logits, statistics, targets, weights, scale, options);
         };
       })},
      {"one-attention-dropout-for-all-of-tp", "every rank of tp drops as if its first head were the model's",
       planted_ops([](Kernels& planted) {
         planted.attention_forward = [](Stream stream, Tensor o, Tensor lse, Tensor q, Tensor kv, Tensor keys,
                                        float scale, Dropout dropout, RowIds rows) {
           dropout.first_head = 0;
           host_kernels().attention_forward(stream, o, lse, q, kv, keys, scale, dropout, rows);
         };
         planted.attention_backward = [](Stream stream, Tensor dq, Tensor dkv, Tensor d_o, Tensor o, Tensor lse,
                                         Tensor q, Tensor kv, Tensor keys, float scale, Dropout dropout, RowIds rows) {
           dropout.first_head = 0;
           host_kernels().attention_backward(stream, dq, dkv, d_o, o, lse, q, kv, keys, scale, dropout, rows);
         };
       })},
      {"one-row-dropout-for-all-of-tp", "every rank of tp drops in its rows what the first drops in its own",
       planted_ops([](Kernels& planted) {
         planted.dropout = [](Stream stream, Tensor y, Tensor x, Tensor residual, Dropout dropout, RowIds rows) {
           if (dropout.probability > 0 && places(Axis::kTp) > 1) rows = rows_of_the_first(x.size(0));
           host_kernels().dropout(stream, y, x, residual, dropout, rows);
         };
       })},
      {"dropout-keyed-by-rank",
       "dropout draws from a key of the rank's own, so that the layout decides what is dropped",
       planted_ops([](Kernels& planted) {
         planted.dropout = [](Stream stream, Tensor y, Tensor x, Tensor residual, Dropout dropout, RowIds rows) {
           dropout.key += static_cast<std::uint64_t>(place(Axis::kDp) + 8 * place(Axis::kPp) + 64 * place(Axis::kTp));
           host_kernels().dropout(stream, y, x, residual, dropout, rows);
         };
       })},
      {"micro-batches-swapped", "the first stage takes its first two micro-batches in another order than the next",
       scheduled(swap_first_two)},
      {"last-reduction-dropped", "the bucket that is complete last is not reduced over dp",
       without_calls([](const PlantedCall& call) {
         return call.group == "dp" && (call.op == "all_reduce" || call.op == "reduce_scatter") &&
                call.is_about("embedding.tokens");
       })},
      {"bucket-reduced-early", "a bucket is reduced over dp before the last contribution to it has come",
       bucket_reduced_early()},
      {"padding-in-the-norm", "the clipping norm reads on to the end of the last block, and what pads it is not zero",
       planted_ops([](Kernels& planted) {
         planted.square_sums = [](Stream stream, Tensor sums, Tensors x) {
           if (places(Axis::kDp) > 1) return square_sums_with_padding(stream, sums, x);
           host_kernels().square_sums(stream, sums, x);
         };
       })},
      {"decay-twice-on-a-replica", "weight decay is applied twice on every rank but the first",
       planted_ops([](Kernels& planted) {
         planted.adamw = [](Stream stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients,
                            StepControl control, AdamW options) {
           if (place(Axis::kDp) + place(Axis::kPp) + place(Axis::kTp) > 0) options.weight_decay *= 2;
           host_kernels().adamw(stream, parameters, masters, m, v, gradients, control, options);
         };
       })},
      {"masters-from-rounded-weights", "the fp32 masters are taken from the rounded weights before every update",
       planted_ops([](Kernels& planted) {
         planted.adamw = [](Stream stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients,
                            StepControl control, AdamW options) {
           if (is_one_of_several_ranks())
             for (std::size_t i = 0; i < masters.size(); ++i)
               if (masters[i].data != parameters[i].data) host_kernels().copy(stream, masters[i], parameters[i]);
           host_kernels().adamw(stream, parameters, masters, m, v, gradients, control, options);
         };
       })},
      {"validation-of-own-windows", "a rank's validation loss is that of the windows which dp dealt it",
       without_calls(
           [](const PlantedCall& call) { return call.op == "gather_to_all" && call.is_about("validation losses"); })},
      {"rate-counted-per-micro-batch", "the learning rate's schedule moves on with every micro-batch",
       rate_counted_per_micro_batch()},
  };
  return plants;
}

}  // namespace trireme
