"""Trains one of the two CIFAR-10 models. See README.md for the exact commands."""
import argparse
import time

import torch
from torch.nn import functional

import model as models
import objects
import training

SHAPES = {
    "local": dict(
        width=96, feed_forward=192, layers=2, heads=4, projection="Q-K=V",
        conv=((24, 3, 1, 1, 2), (48, 3, 1, 1, 2), (96, 3, 1, 1, 0))),
    "edge": dict(
        width=256, feed_forward=512, layers=4, heads=8, projection="Q-K=V",
        conv=((32, 3, 1, 1, 0), (64, 3, 1, 1, 2), (128, 3, 1, 1, 2), (256, 3, 1, 1, 2))),
}


def build(which, labels):
    """The untrained model `local` or `edge`."""
    return models.Model(models.Config(
        architecture=models.VIT, stem="conv", pooling="sequence", labels=labels,
        mean=objects.MEAN, std=objects.STD, name=f"objects-{which}", license="Apache-2.0",
        **SHAPES[which]))


def loss_of(model, padded, labels, smoothing):
    """The loss of one batch; products in bfloat16, the residual stream and norms in single."""
    pictures = model.normalize(objects.augment(padded))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(pictures)
    return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def epoch(trainer, padded, labels, smoothing):
    """One pass over the training pictures, or less if the time is over. Returns the mean loss."""
    batch, total, count = trainer.arguments.batch, 0.0, 0
    order = torch.randperm(len(padded))
    for index in order[:len(order) // batch * batch].view(-1, batch):
        if trainer.progress >= 1:
            break
        total += trainer.step(lambda: loss_of(trainer.model, padded[index], labels[index],
                                              smoothing))
        count += 1
    return total / max(count, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    training.add_arguments(parser)
    parser.add_argument("--which", choices=SHAPES, required=True)
    parser.add_argument("--smoothing", type=float, default=0.1, help="label smoothing")
    parser.add_argument("--drop", type=float, default=0.0, help="stochastic depth of the last block")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    model = build(arguments.which, objects.class_names(arguments.data))
    model = model.to(memory_format=torch.channels_last)
    for i, block in enumerate(model.blocks):
        block.drop = arguments.drop * i / max(1, len(model.blocks) - 1)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    pictures, labels = objects.read(arguments.data, "train")
    padded = objects.pad(pictures)
    trainer = training.Trainer(model, arguments, len(padded) // arguments.batch)
    # Only to watch: nothing is chosen by it, the last state is what is kept.
    seen, seen_labels = (part[:1000] for part in objects.read(arguments.data, "test_a"))
    while trainer.progress < 1:
        start = time.monotonic()
        loss = epoch(trainer, padded, labels, arguments.smoothing)
        trainer.epoch += 1
        found = trainer.with_average(lambda model: objects.probabilities(model, seen))
        trainer.save()
        trainer.write()
        print(f"epoch {trainer.epoch} loss {loss:.4f} seen {objects.accuracy(found, seen_labels):.4f}"
              f" seconds {time.monotonic() - start:.1f} progress {trainer.progress:.3f}", flush=True)


if __name__ == "__main__":
    main()
