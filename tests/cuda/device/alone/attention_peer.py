"""PyTorch's attention beside ours: at the shape and with the repetitions of a report of `trireme_gpu bench`, timed alike.

    attention_peer.py BENCH.json        prints JSON

Each of PyTorch's kernels (cuDNN's, FlashAttention) is asked for by itself. Where torch or CUDA is missing that is what
is printed, and the exit code is 0: a peer is welcome, not needed.
"""
import json
import re
import statistics
import sys


def absent(why):
    print(json.dumps({"absent": why}))
    sys.exit(0)


try:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import scaled_dot_product_attention
except ImportError as error:
    absent(f"PyTorch cannot be imported: {error}")
if not torch.cuda.is_available():
    absent(f"PyTorch {torch.__version__} sees no GPU")

KERNELS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION}


def seconds(work, repetitions):
    """The median between two events, behind a write that empties the L2 cache, as timing.h does it."""
    flushed = torch.empty(max(128 << 20, 2 * torch.cuda.get_device_properties(0).L2_cache_size), dtype=torch.uint8,
                          device="cuda")
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for i in range(-3, repetitions):
        flushed.zero_()
        begin.record()
        work()
        end.record()
        end.synchronize()
        if i >= 0:
            times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def main(bench):
    ours = {one["op"]: one for one in bench["kernels"] if one["op"].startswith("attention_")}
    if not ours:
        absent("the report holds no attention")
    rows, heads, size, _, _, kv_heads, _ = map(int, re.findall(r"\d+", ours["attention_forward"]["shape"].split("bf16")[1]))

    def normal(of):
        return torch.randn(1, of, rows, size, device="cuda", dtype=torch.bfloat16, requires_grad=True)

    def attend():
        return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    q, k, v = normal(heads), normal(kv_heads), normal(kv_heads)
    report = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn_version": torch.backends.cudnn.version()}
    for name, kernel in KERNELS.items():
        try:
            with sdpa_kernel(kernel):
                o = attend()
                d_o = torch.randn_like(o)
                times = {
                    "attention_forward": seconds(attend, bench["repetitions"]),
                    "attention_backward": seconds(
                        lambda: torch.autograd.grad(o, (q, k, v), d_o, retain_graph=True), bench["repetitions"]),
                }
        except RuntimeError as error:
            report[name] = {"cannot": str(error)}
            continue
        report[name] = {}
        for op, median in times.items():
            entry = report[name][op] = {"median_seconds": median}
            if "median_seconds" in ours.get(op, {}):
                entry["ours_over_peer"] = ours[op]["median_seconds"] / median
    print(json.dumps(report))


with open(sys.argv[1], encoding="utf-8") as file:
    main(json.load(file))
