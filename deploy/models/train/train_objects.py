"""Trains the picture encoders of the task `objects` on CIFAR-10, in bfloat16 autocast on the processor.

  python3 train_objects.py DATA OUT.pt --size local|edge --epochs N [--threads N] [--seed N]

DATA holds train.jpgpack, train.index.csv, test_a.jpgpack, test_a.index.csv and classes.txt. The state after every epoch is kept in
OUT.pt; the same command goes on from there. The learning rate rises for two epochs and falls by a cosine to zero.
"""

import argparse
import csv
import io
import math
import os
import time

import numpy
import torch
from PIL import Image
from torch.nn import functional as F

from model import Config, build

SIZES = {
    "local": dict(n_layer=3, n_embd=96, n_ff=192, n_head=4, n_head_kv=1, stem_channels=[24, 48, 96]),
    "edge": dict(n_layer=5, n_embd=160, n_ff=320, n_head=5, n_head_kv=5, stem_channels=[48, 96, 160]),
}
EVAL_BATCH = 250


def config(size, labels):
    """Three 3x3 convolutions with two pools: 32x32 pixels become 64 tokens."""
    return Config(architecture="tandem-vit", projection="Q-K=V", stem="conv", pooling="sequence", labels=labels, n_class=len(labels),
                  stem_kernel=[3, 3, 3], stem_stride=[1, 1, 1], stem_padding=[1, 1, 1], stem_pool=[3, 0, 3], **SIZES[size])


def load_split(folder, split):
    """Pictures as uint8 [N, 3, 32, 32] and labels [N]."""
    pack = open(os.path.join(folder, f"{split}.jpgpack"), "rb").read()
    rows = list(csv.DictReader(open(os.path.join(folder, f"{split}.index.csv"))))
    pictures = numpy.empty((len(rows), 3, 32, 32), numpy.uint8)
    for i, row in enumerate(rows):
        start, size = int(row["offset"]), int(row["size"])
        pictures[i] = numpy.asarray(Image.open(io.BytesIO(pack[start:start + size])).convert("RGB")).transpose(2, 0, 1)
    return torch.from_numpy(pictures), torch.tensor([int(row["label"]) for row in rows])


def normalise(pictures, c):
    mean = torch.tensor(c.image_mean).view(1, 3, 1, 1)
    std = torch.tensor(c.image_std).view(1, 3, 1, 1)
    return (pictures.float() / 255 - mean) / std


def augment(x, generator):
    """Shift by up to 4 pixels (mirrored edges), flip half of them, cut out one 8x8 square from half of them."""
    n = x.shape[0]
    padded = F.pad(x, (4, 4, 4, 4), mode="reflect")
    dx, dy = torch.randint(0, 9, (2, n, 1), generator=generator)
    columns = dx + torch.arange(32)
    flip = torch.rand(n, generator=generator) < 0.5
    columns[flip] = columns[flip].flip(1)
    rows = dy + torch.arange(32)
    x = padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
    cut = torch.randint(-4, 33, (2, n), generator=generator)
    cut[:, torch.rand(n, generator=generator) < 0.5] = 99
    line = torch.arange(32)
    inside = lambda start: (line >= start[:, None]) & (line < start[:, None] + 8)
    hole = inside(cut[0])[:, :, None] & inside(cut[1])[:, None, :]
    return x.masked_fill(hole[:, None], 0.0)


def accuracy(model, x, y):
    model.eval()
    right = 0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for i in range(0, len(x), EVAL_BATCH):
            right += (model(x[i:i + EVAL_BATCH]).argmax(1) == y[i:i + EVAL_BATCH]).sum().item()
    model.train()
    return right / len(x)


def groups(model, decay):
    """Weight decay on matrices and convolutions only."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("out")
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=128)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    labels = open(os.path.join(args.data, "classes.txt")).read().split()
    c = config(args.size, labels)
    model = build(c)
    print(f"{args.size}: {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train_x, train_y = load_split(args.data, "train")
    test_x, test_y = load_split(args.data, "test_a")
    train_x, test_x = normalise(train_x, c), normalise(test_x, c)
    optimiser = torch.optim.AdamW(groups(model, 0.05), lr=args.lr, betas=(0.9, 0.98))
    first, seconds = 0, 0.0
    if os.path.exists(args.out):
        state = torch.load(args.out)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first, seconds = state["epoch"], state["seconds"]
    steps = len(train_x) // args.batch
    total, warm = args.epochs * steps, 2 * steps
    for epoch in range(first, args.epochs):
        generator = torch.Generator().manual_seed(args.seed * 1000 + epoch)
        order = torch.randperm(len(train_x), generator=generator)
        start, loss_sum = time.time(), 0.0
        for step in range(steps):
            at = epoch * steps + step
            rate = at / warm if at < warm else 0.5 * (1 + math.cos(math.pi * (at - warm) / (total - warm)))
            for group in optimiser.param_groups:
                group["lr"] = args.lr * rate
            batch = order[step * args.batch:(step + 1) * args.batch]
            x = augment(train_x[batch], generator)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), train_y[batch], label_smoothing=0.1 if args.size == "edge" else 0.0)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            loss_sum += loss.item()
        seconds += time.time() - start
        torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch + 1, "seconds": seconds,
                    "config": c.as_dict(), "args": vars(args)}, args.out + ".new")
        os.replace(args.out + ".new", args.out)
        print(f"epoch {epoch + 1}/{args.epochs} loss {loss_sum / steps:.4f} test_a {accuracy(model, test_x, test_y):.4f} "
              f"{time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
