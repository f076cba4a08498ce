"""PyTorch's attention (FlashAttention or cuDNN, whichever it takes) at the shape that trireme_gpu bench uses, timed alike.

Prints JSON. Needs torch with CUDA; tests/run gpu calls it where that is there.
"""
import json
import statistics

import torch
from torch.nn.functional import scaled_dot_product_attention

ROWS, HEADS, KV_HEADS, HEAD_SIZE = 8192, 16, 4, 128


def seconds(work, repetitions=20):
    times = []
    for i in range(repetitions + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def normal(heads):
    return torch.randn(1, heads, ROWS, HEAD_SIZE, device="cuda", dtype=torch.bfloat16, requires_grad=True)


def attend(q, k, v):
    return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


q, k, v = normal(HEADS), normal(KV_HEADS), normal(KV_HEADS)
o = attend(q, k, v)
d_o = torch.randn_like(o)
print(json.dumps({
    "torch": torch.__version__,
    "attention_forward, causal": seconds(lambda: attend(q, k, v)),
    "attention_backward, causal": seconds(lambda: torch.autograd.grad(o, (q, k, v), d_o, retain_graph=True)),
}))
