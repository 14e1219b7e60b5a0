#!/usr/bin/env python3
"""What becomes of the recorded pictures where they are sent smaller, for the simulator.

    record_forms.py EDGE_EACH LOCAL_EACH OUT.csv

Line N of OUT.csv is the N-th picture of pairs.csv, which was made 16 times as large, to be what a camera would have sent:

    build/tests/sim/enlarge LIST BIG 16 1.5                 LIST: the 2,500 first pictures of CIFAR-10's test_a
    tandem-model evaluate objects-edge.gguf BIG/list.tsv --forms --each >EDGE_EACH
    tandem-model evaluate objects-local.gguf LIST --forms --each >LOCAL_EACH

A form is `SxQ`: S times as large as what the model looks at, JPEG of quality Q. It has two columns: its bytes, and `_is`, 1
where the edge's answer to it is right, and 2 more where that is the local answer (to the thumbnail itself, which is what
the local model gave in pairs.csv).
"""
import csv
import sys


def rows_of(path):
    """Picture -> (scale, quality) -> row."""
    pictures = {}
    for row in csv.DictReader(open(path)):
        pictures.setdefault(int(row["picture"]), {})[int(row["scale"]), int(row["quality"])] = row
    return pictures


def main():
    edge, local = rows_of(sys.argv[1]), rows_of(sys.argv[2])
    forms = [form for form in edge[0] if form != (0, 0)]
    with open(sys.argv[3], "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(column for scale, quality in forms for column in (f"{scale}x{quality}", f"{scale}x{quality}_is"))
        for picture in sorted(edge):
            here = local[picture][0, 0]["answer"]
            cells = []
            for form in forms:
                row = edge[picture][form]
                cells += [row["bytes"], int(row["answer"] == row["truth"]) + 2 * int(row["answer"] == here)]
            out.writerow(cells)


main()
