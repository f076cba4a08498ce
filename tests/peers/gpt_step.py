#!/usr/bin/python3
"""The peer of `trireme bench step --compare`: optimizer steps of a GPT-2 in PyTorch on the CPU, as fast as it gets there.

The model is the one of trainer/model (family gpt2): pre-norm blocks, learned positions, GELU by tanh, biases, tied
embedding; AdamW with clipping; a batch of random tokens each step. It prints a line "ready ..." when it has warmed up,
then answers each line N on standard input with the seconds of N steps on one line, until standard input ends.

Tuned: allocations stay in the process (else page faults on fresh tensors cost 25 to 40 %), AVX-512 where there is any,
BLAS through OpenMP (Debian's libopenblas0-openmp; launch/setup --oracle installs it), and in bf16 the faster of
autocast over fp32 weights and bf16 weights under fp32 masters. Exit code 3: there is no PyTorch.
"""
import argparse
import os
import sys
import time

TUNING = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "34359738368",
    "MALLOC_TOP_PAD_": "268435456",
}
with open("/proc/cpuinfo") as cpu:
    if " avx512f" in cpu.read():
        TUNING["ATEN_CPU_CAPABILITY"] = "avx512"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for size in ("layers", "hidden", "sequence", "vocabulary", "batch"):
    parser.add_argument("--" + size, type=int, required=True)
parser.add_argument("--dtype", choices=("fp32", "bf16"), required=True)
parser.add_argument("--threads", type=int, required=True)
arguments = parser.parse_args()

TUNING["OMP_NUM_THREADS"] = str(arguments.threads)
if any(os.environ.get(name) != value for name, value in TUNING.items()):
    os.execve(sys.executable, [sys.executable] + sys.argv, {**os.environ, **TUNING})  # the C library reads them once

try:
    import torch
except ImportError:
    sys.exit(3)
from torch import nn
from torch.nn import functional as F

HEAD_SIZE = 64
L, C, T, V, B = (getattr(arguments, size) for size in ("layers", "hidden", "sequence", "vocabulary", "batch"))
torch.set_num_threads(arguments.threads)
torch.manual_seed(1)
future = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)  # [T, T]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv, self.out = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.up, self.down = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def attention(self, x):  # [B, T, C]
        q, k, v = (p.view(B, T, C // HEAD_SIZE, HEAD_SIZE).transpose(1, 2) for p in self.qkv(x).split(C, 2))
        scores = (q @ k.transpose(-2, -1)) * HEAD_SIZE**-0.5  # [B, H, T, T]
        weights = F.softmax(scores.masked_fill(future, float("-inf")), -1)
        return self.out((weights @ v).transpose(1, 2).reshape(B, T, C))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.ModuleList(Block() for _ in range(L))
        self.norm = nn.LayerNorm(C)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0, 0.02)

    def forward(self, tokens, targets):  # [B, T] both
        x = self.tokens(tokens) + self.positions(torch.arange(T))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)  # [B, T, V]
        return F.cross_entropy(logits.view(-1, V).float(), targets.view(-1))


class Plain:
    """fp32 weights; `autocast` multiplies in bf16."""

    def __init__(self, autocast):
        self.name = "bf16 autocast" if autocast else "fp32"
        self.autocast = autocast
        self.model = GPT()
        self.parameters = list(self.model.parameters())
        self.optimizer = adamw(self.parameters)

    def step(self, tokens, targets):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            loss = self.model(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


class Masters:
    """bf16 weights and activations; the optimizer updates fp32 masters, of which the weights are the rounding."""

    def __init__(self):
        self.name = "bf16 weights under fp32 masters"
        self.model = GPT()
        self.masters = [p.detach().clone().requires_grad_() for p in self.model.parameters()]
        self.model.bfloat16()
        self.parameters = list(self.model.parameters())
        self.optimizer = adamw(self.masters)

    def step(self, tokens, targets):
        loss = self.model(tokens, targets)
        loss.backward()
        for master, parameter in zip(self.masters, self.parameters):
            master.grad, parameter.grad = parameter.grad.float(), None
        nn.utils.clip_grad_norm_(self.masters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.masters) if hasattr(torch, "_foreach_copy_") else [
                parameter.copy_(master) for master, parameter in zip(self.masters, self.parameters)
            ]
        return loss.item()


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, foreach=True)


def seconds_of_a_step(trainer):
    tokens, targets = torch.randint(V, (B, T)), torch.randint(V, (B, T))
    begin = time.perf_counter()
    trainer.step(tokens, targets)
    return time.perf_counter() - begin


def warmed_up(make):
    trainer = make()
    seconds_of_a_step(trainer)
    return trainer, min(seconds_of_a_step(trainer) for _ in range(2))


if arguments.dtype == "fp32":
    best, _ = warmed_up(lambda: Plain(False))
else:
    best, seconds = warmed_up(lambda: Plain(True))
    other, other_seconds = warmed_up(Masters)
    if other_seconds < seconds:
        best = other
    del other
print(f"ready PyTorch {torch.__version__}, {best.name}, {torch.get_num_threads()} threads", flush=True)
for line in sys.stdin:
    print(" ".join(f"{seconds_of_a_step(best):.6f}" for _ in range(int(line))), flush=True)
