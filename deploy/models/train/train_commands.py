"""Trains one of the two SCAN models. See README.md for the exact commands."""
import argparse
import time

import torch
from torch.nn import functional

import commands
import model as models
import training

# The longest command has 9 words, the longest answer 48; with two control tokens 59.
CONTEXT = 64
SHAPES = {
    "local": dict(width=20, feed_forward=40, layers=2, heads=2, kv_heads=1),
    "edge": dict(width=128, feed_forward=256, layers=4, heads=4, kv_heads=4),
}


def build(which, words):
    """The untrained model `local` or `edge`."""
    return models.Model(models.Config(
        architecture=models.DECODER, projection="Q-K=V", context=CONTEXT, vocabulary=len(words),
        name=f"commands-{which}", license="Apache-2.0", extra=commands.tokenizer_pairs(words),
        **SHAPES[which]))


def collate(examples):
    """(tokens [B, T], targets [B, T]) of a batch; only the answer has targets, the rest is -100."""
    longest = max(len(prompt) + len(answer) for prompt, answer in examples) - 1
    tokens = torch.full((len(examples), longest), commands.END)
    targets = torch.full((len(examples), longest), -100)
    for i, (prompt, answer) in enumerate(examples):
        row = prompt + answer
        tokens[i, :len(row) - 1] = torch.tensor(row[:-1])
        targets[i, len(prompt) - 1:len(row) - 1] = torch.tensor(answer)
    return tokens, targets


def batches(examples, size):
    """Batches in random order, each of examples of about one length: eight batches' worth of a
    random order are sorted and cut."""
    order = torch.randperm(len(examples)).tolist()
    found = []
    for start in range(0, len(order), size * 8):
        part = sorted(order[start:start + size * 8], key=lambda i: sum(map(len, examples[i])))
        found += [part[at:at + size] for at in range(0, len(part), size)]
    for i in torch.randperm(len(found)).tolist():
        yield collate([examples[j] for j in found[i]])


def loss_of(model, tokens, targets):
    """The mean loss over the answers' tokens; products in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(tokens)
    return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def mostly_short(pairs, longest, share):
    """All pairs with at most `longest` actions and a random `share` of the others, in order."""
    return [pair for pair in pairs
            if len(pair[1]) <= longest or torch.rand(1).item() < share]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    training.add_arguments(parser)
    parser.add_argument("--which", choices=SHAPES, required=True)
    parser.add_argument("--short", type=int, default=48, metavar="ACTIONS",
                        help="commands with more actions are long ones (default: none is)")
    parser.add_argument("--long-share", type=float, default=1, metavar="SHARE",
                        help="how many of the long commands are trained on, 0..1")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    pairs = commands.read(arguments.data, commands.TRAIN)
    words = commands.vocabulary(pairs)
    examples = commands.encode(mostly_short(pairs, arguments.short, arguments.long_share), words)
    trainer = training.Trainer(build(arguments.which, words), arguments,
                               -(-len(examples) // arguments.batch))
    print(f"{sum(p.numel() for p in trainer.model.parameters())} parameters", flush=True)
    # Only to watch: nothing is chosen by it, the last state is what is kept.
    seen = commands.encode(commands.read(arguments.data, commands.TEST), words)[:200]
    while trainer.progress < 1:
        start, losses = time.monotonic(), []
        for tokens, targets in batches(examples, arguments.batch):
            if trainer.progress >= 1:
                break
            losses.append(trainer.step(lambda: loss_of(trainer.model, tokens, targets)))
        trainer.epoch += 1
        counts = trainer.with_average(lambda model: commands.exact(model, seen))
        trainer.save()
        trainer.write()
        print(f"epoch {trainer.epoch} loss {sum(losses) / max(len(losses), 1):.4f} seen "
              f"{counts[0][0]}/{counts[0][1]} seconds {time.monotonic() - start:.1f} "
              f"progress {trainer.progress:.3f}", flush=True)


if __name__ == "__main__":
    main()
