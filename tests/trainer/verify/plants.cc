#include "tests/trainer/verify/plants.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cuda/host/host_device.h"
#include "tests/trainer/verify/planted_communicator.h"

namespace trireme {
namespace {

// Where the rank of this thread stands: ops are plain functions, and a rank computes on one thread.
thread_local AxisPlaces here;

std::int64_t place(Axis axis) { return here[axis].index; }
std::int64_t places(Axis axis) { return here[axis].parts; }
bool first_of_replicas() { return place(Axis::kDp) == 0 && place(Axis::kPp) == 0 && place(Axis::kTp) == 0; }

// A change to the op table of every rank.
TrialSeams ops(void (*change)(Kernels&)) {
  TrialSeams seams;
  seams.kernels = [change](const Kernels& honest, const AxisPlaces& at) {
    here = at;
    Kernels planted = honest;
    change(planted);
    return planted;
  };
  return seams;
}

TrialSeams without_calls(LeaveOut which) {
  TrialSeams seams;
  seams.world = [which](std::unique_ptr<Communicator> honest, Device& device) {
    return leave_out(std::move(honest), device, which);
  };
  return seams;
}

bool about(const CallFor& call, std::string_view what) { return call.tensor.find(what) != std::string_view::npos; }

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
  TrialSeams seams = ops([](Kernels& planted) {
    planted.reciprocal = [](Stream stream, Tensor scale, Tensor count, float numerator) {
      host_kernels().reciprocal(stream, scale, count, numerator / static_cast<float>(places(Axis::kDp)));
    };
  });
  seams.world = without_calls([](const std::string& group, std::string_view, const CallFor& call) {
                  return group == "dp" && about(call, "token count");
                }).world;
  return seams;
}

}  // namespace

std::span<const Plant> all_plants() {
  static const std::vector<Plant> plants = {
      {"loss-averaged-per-rank",
       "the loss is averaged over each rank's own tokens, then over ranks, however unlike their masks",
       loss_averaged_per_rank()},
      {"sharded-norm-counted-once", "of what tp cuts, the clipping norm counts one rank's part alone",
       ops([](Kernels& planted) {
         planted.square_sums = [](Stream stream, Tensor sums, Tensors x) {
           host_kernels().square_sums(stream, sums, x);
           if (place(Axis::kTp) > 0) host_kernels().fill(stream, sums, 0);
         };
       })},
      {"sequence-parallel-gradients-not-summed",
       "gradients of norms and biases, of which each rank of tp has its own rows', are not summed over tp",
       without_calls([](const std::string&, std::string_view op, const CallFor& call) {
         return op == "all_reduce" && about(call, "replicas of") && !about(call, "attention.kv");
       })},
      {"kv-replicas-not-summed", "heads of K and V are replicated over tp, and their gradients are not summed",
       without_calls([](const std::string&, std::string_view op, const CallFor& call) {
         return op == "all_reduce" && about(call, "replicas of") && about(call, "attention.kv");
       })},
      {"tied-embedding-not-summed",
       "the first and the last stage keep their own gradients of the embedding that they share",
       without_calls([](const std::string& group, std::string_view op, const CallFor& call) {
         return group == "pp" && op == "exchange" && about(call, "tied");
       })},
      {"label-smoothing-over-a-slice", "under a vocabulary split, label smoothing divides by the slice's columns",
       ops([](Kernels& planted) {
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
      {"z-loss-of-a-slice", "under a vocabulary split, the log of the sum of exponentials is that of the first slice",
       ops([](Kernels& planted) {
         planted.cross_entropy_merge = [](Stream stream, Tensor statistics, Tensor parts) {
           host_kernels().cross_entropy_merge(stream, statistics, parts.rows(0, 1));
         };
       })},
      {"one-attention-dropout-for-all-of-tp", "every rank of tp drops as if its first head were the model's",
       ops([](Kernels& planted) {
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
      {"dropout-keyed-by-rank",
       "dropout draws from a key of the rank's own, so that the layout decides what is dropped",
       ops([](Kernels& planted) {
         planted.dropout = [](Stream stream, Tensor y, Tensor x, Tensor residual, Dropout dropout, RowIds rows) {
           dropout.key += static_cast<std::uint64_t>(place(Axis::kDp) + 8 * place(Axis::kPp) + 64 * place(Axis::kTp));
           host_kernels().dropout(stream, y, x, residual, dropout, rows);
         };
       })},
      {"micro-batches-swapped", "the first stage takes its first two micro-batches in another order than the next",
       scheduled(swap_first_two)},
      {"last-reduction-dropped", "the bucket that is complete last is not reduced over dp",
       without_calls([](const std::string& group, std::string_view op, const CallFor& call) {
         return group == "dp" && (op == "all_reduce" || op == "reduce_scatter") && about(call, "embedding.tokens");
       })},
      {"padding-in-the-norm", "the clipping norm reads on to the end of the last block, where padding is",
       ops([](Kernels& planted) {
         planted.square_sums = [](Stream stream, Tensor sums, Tensors x) {
           host_kernels().square_sums(stream, sums, x);
           if (places(Axis::kDp) * places(Axis::kPp) * places(Axis::kTp) == 1 || sums.elements() == 0) return;
           host_kernels().copy(stream, sums.rows(0, 1), sums.rows(sums.size(0) - 1, sums.size(0)));
         };
       })},
      {"decay-twice-on-a-replica", "weight decay is applied twice on every rank but the first",
       ops([](Kernels& planted) {
         planted.adamw = [](Stream stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients,
                            StepControl control, AdamW options) {
           if (!first_of_replicas()) options.weight_decay *= 2;
           host_kernels().adamw(stream, parameters, masters, m, v, gradients, control, options);
         };
       })},
      {"masters-from-rounded-weights", "the fp32 masters are taken from the rounded weights before every update",
       ops([](Kernels& planted) {
         planted.adamw = [](Stream stream, Tensors parameters, Tensors masters, Tensors m, Tensors v, Tensors gradients,
                            StepControl control, AdamW options) {
           if (places(Axis::kDp) * places(Axis::kPp) * places(Axis::kTp) > 1)
             for (std::size_t i = 0; i < masters.size(); ++i)
               if (masters[i].data != parameters[i].data) host_kernels().copy(stream, masters[i], parameters[i]);
           host_kernels().adamw(stream, parameters, masters, m, v, gradients, control, options);
         };
       })},
  };
  return plants;
}

}  // namespace trireme
