"""Writes a model file from a checkpoint of one of the training programs.

    python3 export.py --task objects --which local --data FOLDER --checkpoint FILE.pt --out F.gguf

The training programs write their file themselves; this is for the other type (F32), or after a stop.
"""
import argparse

import torch

import commands
import model as models
import objects
import train_commands
import train_objects


def untrained(task, which, folder):
    """The model with the shape that the checkpoint's numbers fit."""
    if task == "objects":
        return train_objects.build(which, objects.class_names(folder))
    words = commands.vocabulary(commands.read(folder, commands.TRAIN))
    return train_commands.build(which, words)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("objects", "commands"), required=True)
    parser.add_argument("--which", choices=("local", "edge"), required=True)
    for option in ("--data", "--checkpoint", "--out"):
        parser.add_argument(option, required=True)
    parser.add_argument("--type", choices=("F16", "F32"), default="F16")
    arguments = parser.parse_args()
    model = untrained(arguments.task, arguments.which, arguments.data)
    model.load_state_dict(torch.load(arguments.checkpoint)["averaged"])
    models.save(model.eval(), arguments.out, arguments.type)


if __name__ == "__main__":
    main()
