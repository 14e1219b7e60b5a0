"""SCAN: reading commands and actions, their vocabulary, measuring a model."""
import os

import torch

TRAIN, TEST = "scan_train_simple.txt", "scan_test_simple_a.txt"
# Control tokens, never printed: the end of the answer, and what separates it from the command.
END, SEPARATOR = 0, 1
CONTROL = ["<end>", "<actions>"]
# Lengths of answers (actions) that results are reported for: up to and including.
BUCKETS = (8, 16, 24, 48)


def read(folder, name):
    """The pairs (command words, action words) of a SCAN file."""
    pairs = []
    with open(os.path.join(folder, name)) as file:
        for line in file:
            command, actions = line.removeprefix("IN: ").split(" OUT: ")
            pairs.append((command.split(), actions.split()))
    return pairs


def vocabulary(pairs):
    """id -> text: the control tokens, then all command words, then all action words."""
    return (CONTROL + sorted({word for command, _ in pairs for word in command})
            + sorted({word for _, actions in pairs for word in actions}))


def tokenizer_pairs(words):
    """The pairs of a model file that describe the tokenizer and the prompt: the words of the
    command, then the separator."""
    types = [3 if i < len(CONTROL) else 1 for i in range(len(words))]
    return [("tokenizer.ggml.model", "string", "tandem-words"),
            ("tokenizer.ggml.tokens", "[string]", words),
            ("tokenizer.ggml.token_type", "[i32]", types),
            ("tokenizer.ggml.eos_token_id", "u32", END),
            ("tokenizer.ggml.add_bos_token", "bool", False),
            ("tandem.prompt.prefix", "[u32]", []),
            ("tandem.prompt.suffix", "[u32]", [SEPARATOR])]


def encode(pairs, words):
    """A list of (prompt ids, answer ids): the separator ends the prompt, END the answer."""
    ids = {word: i for i, word in enumerate(words)}
    return [([ids[word] for word in command] + [SEPARATOR], [ids[word] for word in actions] + [END])
            for command, actions in pairs]


def answers(model, examples, batch=512):
    """What the model makes of each prompt, greedily: a list of token lists without END."""
    found = [None] * len(examples)
    by_length = {}
    for i, (prompt, _) in enumerate(examples):
        by_length.setdefault(len(prompt), []).append(i)
    for indices in by_length.values():
        for start in range(0, len(indices), batch):
            part = indices[start:start + batch]
            prompts = torch.tensor([examples[i][0] for i in part])
            for i, row in zip(part, model.generate(prompts, END, BUCKETS[-1] + 1)):
                found[i] = row
    return found


def exact(model, examples):
    """Exact matches: {bucket: (right, all)}, with 0 for all lengths together."""
    counts = {bucket: [0, 0] for bucket in (0,) + BUCKETS}
    for (_, answer), row in zip(examples, answers(model, examples)):
        length = len(answer) - 1
        for bucket in (0, next(b for b in BUCKETS if length <= b)):
            counts[bucket][0] += row == answer[:-1]
            counts[bucket][1] += 1
    return counts


def describe(counts):
    """The result of exact() in words."""
    names, low = ["all"], 1
    for bucket in BUCKETS:
        names.append(f"{low}-{bucket}")
        low = bucket + 1
    return ", ".join(f"{name} {100 * right / max(total, 1):.1f} % ({right}/{total})"
                     for name, (right, total) in zip(names, counts.values()))
