"""Writes into model files how far their confidence can be believed.

    python3 calibrate.py --tool build/bin/tandem-model --data FOLDER FILE.gguf...

FOLDER is the CIFAR-10 folder for picture models and the SCAN folder for decoders. The models were
trained with the whole training split, so the examples are of the test split: those after the ones
that the benchmark of decisions uses (tests/sim/record_pairs.py). Each file is replaced by one whose
tensors are the same byte for byte; what `tandem-model calibrate` says is printed.
"""
import argparse
import csv
import os
import subprocess
import tempfile

import commands
import gguf_writer
import objects

PICTURES_BEFORE = 2500  # of test_a: the benchmark's
COMMANDS_BEFORE = 1000  # of scan_test_simple_a.txt: the benchmark's


def picture_list(folder, work):
    """The pictures as files, and a list of them with their classes' names."""
    with open(os.path.join(folder, "test_a.jpgpack"), "rb") as file:
        pack = file.read()
    with open(os.path.join(folder, "test_a.index.csv"), newline="") as file:
        entries = list(csv.DictReader(file))[PICTURES_BEFORE:]
    names = objects.class_names(folder)
    path = os.path.join(work, "pictures.tsv")
    with open(path, "w") as out:
        for number, entry in enumerate(entries):
            at, size = int(entry["offset"]), int(entry["size"])
            with open(os.path.join(work, f"{number}.jpg"), "wb") as picture:
                picture.write(pack[at:at + size])
            out.write(f"{number}.jpg\t{names[int(entry['label'])]}\n")
    return path


def command_list(folder, work):
    """A list of commands with their actions."""
    path = os.path.join(work, "commands.tsv")
    with open(path, "w") as out:
        for command, actions in commands.read(folder, commands.TEST)[COMMANDS_BEFORE:]:
            out.write(f"{' '.join(command)}\t{' '.join(actions)}\n")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--tool", "--data"):
        parser.add_argument(option, required=True)
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    for path in arguments.files:
        pictures = gguf_writer.read(path)[0]["general.architecture"] == "tandem-vit"
        with tempfile.TemporaryDirectory() as work:
            examples = (picture_list if pictures else command_list)(arguments.data, work)
            print(os.path.basename(path), flush=True)
            subprocess.run([arguments.tool, "calibrate", path, examples, path + ".new"], check=True)
        os.replace(path + ".new", path)


if __name__ == "__main__":
    main()
