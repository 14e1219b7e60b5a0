"""CIFAR-10: reading the pictures, changing them for training, measuring a model."""
import csv
import io
import os

import numpy as np
import torch
from PIL import Image

# Of the training pictures, over 0..1.
MEAN = (0.4913, 0.4821, 0.4465)
STD = (0.2452, 0.2428, 0.2606)


def entries(folder, split):
    """The rows of SPLIT.index.csv: dicts with offset, size, label, name."""
    with open(os.path.join(folder, split + ".index.csv"), newline="") as file:
        return list(csv.DictReader(file))


def jpegs(folder, split):
    """Yields (row, JPEG bytes) for each picture of a split."""
    with open(os.path.join(folder, split + ".jpgpack"), "rb") as file:
        pack = file.read()
    for row in entries(folder, split):
        offset, size = int(row["offset"]), int(row["size"])
        yield row, pack[offset:offset + size]


def read(folder, split):
    """(pictures [N, 32, 32, 3] uint8, labels [N]) of a split."""
    pictures, labels = [], []
    for row, data in jpegs(folder, split):
        pictures.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        labels.append(int(row["label"]))
    return torch.from_numpy(np.stack(pictures)), torch.tensor(labels)


def class_names(folder):
    with open(os.path.join(folder, "classes.txt")) as file:
        return tuple(file.read().split())


def planes(pictures):
    """[B, 32, 32, 3] uint8 -> [B, 3, 32, 32] uint8, a view with the channels last in memory."""
    return pictures.permute(0, 3, 1, 2)


def pad(pictures, margin=4):
    """The pictures with a mirrored border."""
    padded = torch.nn.functional.pad(planes(pictures).float(), (margin,) * 4, mode="reflect")
    return padded.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def augment(padded, size=32, hole=8):
    """A random window of each padded picture, half of them mirrored, with a grey square of at most
    hole×hole pixels (cut-out). [B, 40, 40, 3] -> [B, 3, 32, 32] uint8, channels last."""
    count, room = len(padded), padded.shape[1] - size + 1
    top, left = torch.randint(0, room, (2, count, 1))
    line = torch.arange(size)
    columns = torch.where(torch.rand(count, 1) < 0.5, line, size - 1 - line) + left
    pictures = padded[torch.arange(count)[:, None, None], (line + top)[:, :, None],
                      columns[:, None, :]]
    centre = torch.randint(0, size, (2, count, 1))
    rows, cols = ((line - at).abs() * 2 < hole for at in centre)
    pictures[rows[:, :, None] & cols[:, None, :]] = 122
    return planes(pictures)


@torch.no_grad()
def probabilities(model, pictures, batch=250):
    """Softmax of the model's logits, [N, C], in single precision."""
    rows = [model(model.normalize(planes(part).contiguous())).softmax(dim=1)
            for part in pictures.split(batch)]
    return torch.cat(rows)


def accuracy(found, labels):
    return (found.argmax(dim=1) == labels).float().mean().item()


def calibration_error(found, labels, bins=15):
    """Expected calibration error: |accuracy − confidence| over bins of equal width of the highest
    probability, weighted by how many pictures a bin has."""
    confidence, chosen = found.max(dim=1)
    right = (chosen == labels).float()
    index = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [(right[index == i].sum() - confidence[index == i].sum()).abs() for i in range(bins)]
    return (sum(gaps) / len(labels)).item()
