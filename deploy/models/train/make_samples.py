"""Picks the sample inputs of ../samples: test pictures and test commands with their right answers.

    python3 make_samples.py --pictures FOLDER --commands FOLDER --model objects-local.gguf --out DIR

Of each class two pictures are taken of which the model is sure and right, one of which it is unsure
(confidence below 0.6), and one on which it is wrong, each drawn at random with the seed. Of the
commands half have answers of at most 8 actions, and half longer ones. For trying `tandem-model
calibrate` 200 other test commands are written besides, as they come.
"""
import argparse
import csv
import os
import random

import torch

import commands
import model as models
import objects

SHORT = 8
COMMANDS = 30
HELD_OUT, HELD_OUT_BEFORE, HELD_OUT_EVERY = 200, 1000, 5


def picture_choice(model, folder, chance):
    """Indices into test_a, class by class."""
    pictures, labels = objects.read(folder, "test_a")
    confidence, found = objects.probabilities(model, pictures).max(dim=1)
    right = found == labels
    chosen = []
    for label in range(len(model.config.labels)):
        here = labels == label
        groups = ((2, here & right & (confidence >= 0.6)),
                  (1, here & right & (confidence < 0.6)), (1, here & ~right))
        for count, mask in groups:
            chosen += chance.sample(mask.nonzero().flatten().tolist(), count)
    return chosen


def write_pictures(folder, chosen, labels, out):
    """CLASS-INDEX.jpg, the bytes as they are in the pack, and labels.csv."""
    chosen, rows = set(chosen), []
    for index, (row, data) in enumerate(objects.jpegs(folder, "test_a")):
        if index in chosen:
            label = labels[int(row["label"])]
            rows.append((f"{label}-{index:04d}.jpg", label))
            with open(os.path.join(out, rows[-1][0]), "wb") as file:
                file.write(data)
    with open(os.path.join(out, "labels.csv"), "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "label"))
        writer.writerows(sorted(rows))


def write_commands(folder, chance, out):
    """commands.txt: COMMAND, a tab, ACTIONS."""
    pairs = commands.read(folder, commands.TEST)
    short = [pair for pair in pairs if len(pair[1]) <= SHORT]
    long = [pair for pair in pairs if len(pair[1]) > SHORT]
    picked = chance.sample(short, COMMANDS // 2) + chance.sample(long, COMMANDS // 2)
    with open(os.path.join(out, "commands.txt"), "w") as file:
        for command, actions in sorted(picked, key=lambda pair: len(pair[1])):
            file.write(" ".join(command) + "\t" + " ".join(actions) + "\n")


def write_held_out(folder, out):
    """commands-held-out.txt: the same form, none of commands.txt; no model was trained with them."""
    with open(os.path.join(out, "commands.txt")) as file:
        taken = {line.split("\t")[0] for line in file}
    lines = []
    for command, actions in commands.read(folder, commands.TEST)[HELD_OUT_BEFORE::HELD_OUT_EVERY]:
        if " ".join(command) not in taken:
            taken.add(" ".join(command))
            lines.append(" ".join(command) + "\t" + " ".join(actions) + "\n")
    with open(os.path.join(out, "commands-held-out.txt"), "w") as file:
        file.writelines(lines[:HELD_OUT])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--pictures", "--commands", "--model", "--out"):
        parser.add_argument(option, required=True)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(arguments.out, exist_ok=True)
    chance, model = random.Random(arguments.seed), models.load(arguments.model)
    chosen = picture_choice(model, arguments.pictures, chance)
    write_pictures(arguments.pictures, chosen, model.config.labels, arguments.out)
    write_commands(arguments.commands, chance, arguments.out)
    write_held_out(arguments.commands, arguments.out)


if __name__ == "__main__":
    main()
