#!/usr/bin/env python3
"""Holds `trireme prepare` against Hugging Face's `tokenizers`, both ways; run by `tests/run oracle`.

Ours there: the tokenizer.json that prepare trains loads in the library, gives the ids that stand in our shards, and is the
one that the library's own trainer makes of the same text. Theirs here: with tokenizers of four kinds that the library wrote,
prepare writes the library's ids. The texts: this project's sources, and random Unicode.

Reads TRIREME, the program's path.
"""

import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/dataloader/fixtures"))
import make_tokenizer_fixtures as fixtures  # noqa: E402

TRIREME = os.environ["TRIREME"]


def texts():
    sources = sorted(path for ending in ("*.h", "*.cc", "*.md", "*.py") for floor in ("dataloader", "tests/dataloader", "monitoring")
                     for path in (ROOT / floor).rglob(ending))
    found = [path.read_text(encoding="utf-8") for path in sources]
    found += [text for text in fixtures.TEXTS if text]
    found += fixtures.random_texts(2000, random.Random(20261122))
    return [text for text in found if text]


def shard_documents(path):
    """dataloader/shard/format.h: tokens, then where documents end."""
    raw = path.read_bytes()
    magic, _, width, tokens, documents = struct.unpack_from("<8sIIQQ", raw)
    assert magic == b"TRISHARD", path
    ids = struct.unpack_from(f"<{tokens}{'H' if width == 2 else 'I'}", raw, 64)
    ends = struct.unpack_from(f"<{documents}Q", raw, 64 + (tokens * width + 7) // 8 * 8)
    return [ids[begin:end] for begin, end in zip((0,) + ends, ends)]


def prepare(folder, name, corpus, *options):
    out = folder / name
    subprocess.run([TRIREME, "prepare", corpus, "--out", out, "--validation", "0", *options], check=True)
    return out, [document for shard in sorted(out.glob("train-*.shard")) for document in shard_documents(shard)]


def compare(name, tokenizer, documents, expected_texts, prefix=()):
    tokenizer.encode_special_tokens = True  # names of special tokens in a corpus are text
    assert len(documents) == len(expected_texts), (name, len(documents), len(expected_texts))
    tokens = wrong = 0
    for document, text in zip(documents, expected_texts):
        ids = tuple(prefix) + tuple(tokenizer.encode(text, add_special_tokens=False).ids)
        tokens += len(ids)
        if document[:-1] != ids:
            wrong += 1
            if wrong <= 3:
                print(f"{name}: {text!r}\n  theirs {ids}\n  ours   {document[:-1]}")
    print(f"{name}: {len(documents)} documents, {tokens} tokens, {wrong} documents differ")
    return wrong


def main():
    print("tokenizers", tokenizers.__version__)
    expected = texts()
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        corpus = folder / "corpus.jsonl"
        corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in expected), encoding="utf-8")

        out, documents = prepare(folder, "trained", corpus, "--vocab-size", "3000")
        ours = Tokenizer.from_file(str(out / "tokenizer.json"))
        wrong += compare("trained here", ours, documents, expected)
        wrong += sum(ours.decode(document[:-1]) != text for document, text in zip(documents, expected))

        theirs = Tokenizer(models.BPE())
        theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        theirs.train_from_iterator(expected, trainers.BpeTrainer(
            vocab_size=3000, special_tokens=["<|endoftext|>"], initial_alphabet=fixtures.ALPHABET, show_progress=False))
        same = [json.loads(t.to_str())["model"]["vocab"] for t in (ours, theirs)]
        print("the library trains the same vocabulary:", same[0] == same[1])
        wrong += same[0] != same[1]

        for make in (fixtures.gpt2, fixtures.llama3, fixtures.prefixed, fixtures.two_splits):
            path = folder / f"{make.__name__}.json"
            make().save(str(path))
            tokenizer = Tokenizer.from_file(str(path))
            out, documents = prepare(folder, make.__name__, corpus, "--tokenizer", path)
            prefix = [tokenizer.token_to_id("<|begin_of_text|>")] if make is fixtures.llama3 else []
            wrong += compare(make.__name__, tokenizer, documents, expected, prefix)
    if wrong:
        sys.exit(f"{wrong} differences")
    print("all ids agree")


if __name__ == "__main__":
    main()
