#!/usr/bin/env python3
"""Prints PyTorch's perplexity of a shipped decoder over a text, by llama.cpp's definition, for
tests/unit/model/test_perplexity.c.

    tests/golden/make_perplexity.py deploy/models/commands-edge.gguf deploy/models/samples/commands.txt 64

Needs python3-torch; run at authoring time only. The model must split texts at white space
(tokenizer `tandem-words`)."""
import os
import sys

import torch
from torch.nn import functional

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "deploy", "models", "train"))
import gguf_writer  # noqa: E402
import model as models  # noqa: E402


def main():
    path, text, ctx = sys.argv[1], sys.argv[2], int(sys.argv[3])
    values, _ = gguf_writer.read(path)
    ids = {word: i for i, word in enumerate(values["tokenizer.ggml.tokens"])}
    with open(text) as file:
        tokens = [ids[word] for word in file.read().split()]
    net = models.load(path)
    total, scored = 0.0, 0
    for start in range(0, len(tokens) - ctx + 1, ctx):
        chunk = torch.tensor([tokens[start:start + ctx]])
        with torch.no_grad():
            logits = net(chunk)[0].double()
        first = ctx // 2
        total += functional.cross_entropy(logits[first:-1], chunk[0, first + 1:], reduction="sum").item()
        scored += ctx - first - 1
    print(f"{len(tokens)} tokens, {scored} scored, perplexity {torch.tensor(total / scored).exp().item():.6f}")


main()
