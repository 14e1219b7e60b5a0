"""Measures a model file as it is, after rounding to F16, with PyTorch in single precision.

    python3 evaluate.py --data FOLDER FILE.gguf...

FOLDER is the CIFAR-10 folder for picture models and the SCAN folder for decoders.
"""
import argparse
import os

import torch

import commands
import gguf_writer
import model as models
import objects


def picture_report(model, folder):
    """Top-1 accuracy and calibration over the whole of test_a."""
    pictures, labels = objects.read(folder, "test_a")
    found = objects.probabilities(model, pictures)
    confidence = found.max(dim=1).values
    right = found.argmax(dim=1) == labels
    print(f"  test_a top-1 {100 * objects.accuracy(found, labels):.2f} % of {len(labels)}, "
          f"ECE (15 bins) {100 * objects.calibration_error(found, labels):.2f} %, "
          f"mean confidence {100 * confidence.mean():.2f} %")
    for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01)):
        inside = (confidence >= low) & (confidence < high)
        print(f"  confidence {low:.1f}-{min(high, 1):.1f}: {int(inside.sum())} pictures, "
              f"{100 * right[inside].float().mean():.1f} % right")


def command_report(model, path, folder):
    """Exact matches over the test half, by length of the answer."""
    words = gguf_writer.read(path)[0]["tokenizer.ggml.tokens"]
    examples = commands.encode(commands.read(folder, commands.TEST), words)
    print(f"  exact match {commands.describe(commands.exact(model, examples))}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for path in arguments.files:
        model = models.load(path)
        config = model.config
        print(f"{os.path.basename(path)}: {config.architecture} {config.projection}, "
              f"{sum(p.numel() for p in model.parameters())} parameters, "
              f"{os.path.getsize(path)} bytes, {config.kv_bytes_per_token()} KV bytes per token")
        if config.architecture == models.VIT:
            picture_report(model, arguments.data)
        else:
            command_report(model, path, arguments.data)


if __name__ == "__main__":
    main()
