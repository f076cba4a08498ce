#!/usr/bin/env python3
"""Trireme and Hugging Face transformers on each other's directories. Run by tests/run oracle; TRIREME names the program.

There to here: random models that transformers saved have the same loss under `trireme eval`, and `trireme generate`
at temperature 0 goes on with transformers' likeliest tokens. Here to there: a checkpoint that `trireme train` wrote
opens with AutoModelForCausalLM.from_pretrained as it is, has the same loss, and its tokenizer.json gives the same
ids. Losses are sums in fp32 over the same tokens: they agree to 1e-5 relative (thousands of terms, each off by a few
hundred roundings of 6e-8, mostly in opposite directions).
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

TRIREME = os.environ["TRIREME"]
LENGTH = 32
TOLERANCE = 1e-5


def trireme(*arguments):
    done = subprocess.run([TRIREME, *map(str, arguments)], capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode != 0:
        sys.exit(f"trireme {' '.join(map(str, arguments))}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def documents():
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    for i in range(200):
        words = [numbers[(i * (j + 3) + j * j) % 10] for j in range(5 + i % 40)]
        yield f"Document {i}: " + " and ".join(words) + ". Zwölf Boxkämpfer, 京都.\n"


class Data:
    """What `trireme prepare` made of the documents, with the held-out ones as text again."""

    def __init__(self, folder):
        corpus = folder / "corpus.jsonl"
        corpus.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in documents()))
        self.path = folder / "data"
        trireme("prepare", corpus, "--out", self.path, "--vocab-size", 320, "--validation", "0.1")
        manifest = (self.path / "manifest.textproto").read_text()
        self.vocabulary = int(re.search(r"vocab_size: (\d+)", manifest)[1])
        end = re.search(r"end_of_document: (\d+)", manifest)  # not written where it is 0
        self.end = int(end[1]) if end else 0
        text = trireme("inspect", self.path, "--text", "validation")
        self.held_out = [part for part in re.split(r"(?=Document \d+: )", text) if part]

    def pieces(self, tokenizer):
        """Inputs and targets: every token of every held-out document, predicted from what its document and its
        sample of LENGTH tokens hold before it; a document begins after the token that ends one."""
        targets = [id for text in self.held_out for id in tokenizer.encode(text).ids + [self.end]]
        inputs = [self.end] + targets[:-1]
        begin = 0
        for at in range(1, len(inputs) + 1):
            if at == len(inputs) or at % LENGTH == 0 or inputs[at] == self.end:
                yield inputs[begin:at], targets[begin:at]
                begin = at


def compare_losses(what, directory, data):
    """`trireme eval` and transformers on a directory with weights and tokenizer.json."""
    out = trireme("eval", directory, "--data", data.path)
    ours = float(re.search(r"loss: ([0-9.]+)", out)[1])
    tokens = int(re.search(r"tokens: (\d+)", out)[1])
    model = AutoModelForCausalLM.from_pretrained(directory, torch_dtype=torch.float32).eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for inputs, targets in data.pieces(Tokenizer.from_file(str(directory / "tokenizer.json"))):
            logits = model(input_ids=torch.tensor([inputs])).logits[0].double()
            total += torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction="sum").item()
            count += len(targets)
    theirs = total / count
    off = abs(ours - theirs) / theirs
    print(f"{what}: {tokens} tokens; loss {ours:.6f} here, {theirs:.6f} there, off by {off:.1e}")
    if tokens != count:
        sys.exit(f"{what}: {tokens} tokens here, {count} there: the tokenizers differ")
    if off > TOLERANCE:
        sys.exit(f"{what}: the losses differ by more than {TOLERANCE}")
    return model


def compare_likeliest(what, directory, model, data):
    prompt = "Document 7: one and"
    ours = trireme("generate", directory, "--prompt", prompt, "--temperature", 0, "--tokens", 12)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    prompt_ids = tokenizer.encode(prompt).ids
    text = [data.end] + prompt_ids
    with torch.no_grad():
        for _ in range(12):
            text.append(model(input_ids=torch.tensor([text])).logits[0, -1].argmax().item())
            if text[-1] == data.end:
                text.pop()
                break
    theirs = tokenizer.decode(text[1:], skip_special_tokens=False) + "\n"
    if ours != theirs:
        sys.exit(f"{what}: generate wrote {ours!r}, transformers {theirs!r}")
    print(f"{what}: both continue {theirs!r}")


def from_there(folder, data):
    torch.manual_seed(20261122)
    sizes = dict(vocab_size=data.vocabulary, bos_token_id=data.end, eos_token_id=data.end)
    models = {
        "gpt2": GPT2LMHeadModel(GPT2Config(n_positions=LENGTH, n_embd=48, n_layer=2, n_head=3, **sizes)),
        "llama": LlamaForCausalLM(LlamaConfig(
            max_position_embeddings=LENGTH, hidden_size=48, intermediate_size=88, num_hidden_layers=2,
            num_attention_heads=6, num_key_value_heads=2, tie_word_embeddings=False, **sizes)),
        "tied llama": LlamaForCausalLM(LlamaConfig(
            max_position_embeddings=LENGTH, hidden_size=48, intermediate_size=88, num_hidden_layers=2,
            num_attention_heads=6, num_key_value_heads=6, tie_word_embeddings=True, rope_theta=500000.0, **sizes)),
    }
    for name, model in models.items():
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        directory = folder / name.replace(" ", "-")
        model.save_pretrained(directory, safe_serialization=True)
        shutil.copy(data.path / "tokenizer.json", directory)
        loaded = compare_losses(f"{name} of transformers", directory, data)
        compare_likeliest(f"{name} of transformers", directory, loaded, data)


def from_here(folder, data):
    for family, precision in (("gpt2", "fp32"), ("llama", "bf16")):
        run = folder / f"run-{family}"
        configuration = folder / f"{family}.yaml"
        configuration.write_text(f"""
run: {{dir: {run}}}
data: {{path: {data.path}}}
model: {{family: {family}, layers: 2, hidden_size: 48, heads: 6, {'kv_heads: 2, ' if family == 'llama' else ''}
        ffn_size: 88, sequence_length: {LENGTH}}}
train: {{steps: 5, global_batch: 4, micro_batch: 2, precision: {precision}}}
optimizer: {{learning_rate: 1e-2, warmup_steps: 1}}
""")
        trireme("train", configuration)
        checkpoint = sorted((run / "checkpoints").glob("step-*"))[-1]
        loaded = compare_losses(f"{family} of trireme in {precision}", checkpoint, data)
        compare_likeliest(f"{family} of trireme in {precision}", checkpoint, loaded, data)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        data = Data(folder)
        from_there(folder, data)
        from_here(folder, data)


if __name__ == "__main__":
    main()
