"""paper/README.md from paper/results.csv: the measured tables beside the published ones.

    paper_table.py --check      compares; also checks every line of the CSV

Needs Python alone. Published numbers: Kayyam, Madan Gopal, Lewis, "Do Transformers Need Three
Projections?", ICML 2026, tables 1, 2 and 4.
"""
import csv
import os
import statistics
import sys

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "paper")
RESULTS, PAGE = os.path.join(FOLDER, "results.csv"), os.path.join(FOLDER, "README.md")
FIELDS = ("profile", "task", "variant", "seed", "width", "layers", "heads", "kv_heads", "parameters",
          "kv_bytes_per_token", "epochs", "examples", "seconds", "device", "train_loss", "metric",
          "pytorch", "engine")
TEXTS = ("profile", "task", "variant", "device", "metric")  # the other fields are numbers
KEY = ("profile", "task", "variant", "epochs", "seed")
SIX = ("QKV", "Q=K-V", "(Q=K-V)+", "Q-K=V", "Q=K=V", "(Q=K=V)+")
EIGHT = ("QKV", "Q=K-V", "Q-K=V", "Q=K=V", "GQA", "MQA", "Q-GQA", "Q-MQA")
SYNTHETIC = ("reverse", "sort", "sub", "swap", "copy")
PICTURES = ("mnist", "cifar10")
TASKS = (*SYNTHETIC, *PICTURES, "shakespeare")
LANGUAGE = "shakespeare"
# Accuracy in the order of SYNTHETIC and PICTURES.
PAPER = {
    "QKV": (.698, .971, 1.0, .588, 1.0, .981, .663),
    "Q=K-V": (.705, .967, 1.0, .597, 1.0, .981, .666),
    "(Q=K-V)+": (.718, .963, 1.0, .671, 1.0, .982, .662),
    "Q-K=V": (.701, .958, 1.0, .590, 1.0, .976, .659),
    "Q=K=V": (.514, .939, 1.0, .446, 1.0, .978, .672),
    "(Q=K=V)+": (.581, .957, 1.0, .576, 1.0, .977, .669),
}
# 300M, SlimPajama: validation perplexity and its change against QKV in per cent.
PAPER_TEXT = {"QKV": (5.11, 0.0), "Q-K=V": (5.27, 3.1), "Q=K-V": (5.36, 4.9), "Q=K=V": (6.41, 25.4),
              "GQA": (5.15, 0.7), "MQA": (5.19, 1.5), "Q-GQA": (5.32, 3.9), "Q-MQA": (5.36, 4.8)}

HEAD = """# The paper's tables, trained small and measured with this engine

`make paper DATA=DIR` writes this page from `results.csv`; change neither by hand. Every number under
"here" is what `tandem-model evaluate` or `tandem-model perplexity` says of the converted F32 file, as
the mean over the seeds ± half of the range between them, followed by the paper's number.
`results.csv` also has PyTorch's own number for each model.

```sh
make paper DATA=DIR                                   # 90 minutes of missing cells, the cheapest first
make paper DATA=DIR BUDGET_MIN=600                    # go on; what is done is not done again
make paper DATA=DIR PROFILE=full DEVICE=cuda CELLS=8  # the paper's shapes, where a GPU is at hand
make paper DATA=DIR TASKS=sort,swap EPOCHS=2          # some tasks, and another budget beside the first
```

`DIR` holds `mnist/` (`train-images-idx3-ubyte.gz`, `train-labels-idx1-ubyte.gz` and the same for
`t10k_a`, the first half of a shuffled test set), `cifar10/` (`train.jpgpack`, `train.index.csv`,
`test_a.jpgpack`, `test_a.index.csv`, as in [../train](../train/README.md)) and `text/`
(`tinyshakespeare_train.txt`, whose last tenth is held out). The synthetic tasks need no files. Training
needs PyTorch 1.13 or newer, numpy and Pillow: `apt install python3-torch python3-numpy python3-pil`.
[../train.py](../train.py) has the one model definition, the shapes and the recipes, and trains a single
cell by hand. An interrupted cell starts again.

The budgets are small, so compare variants within a table rather than the columns "here" and "paper":
the paper averages its synthetic and picture tasks over shapes, and its language models saw 10 billion
tokens. "budget" is epochs × training examples (windows of the context for text), the mean seconds a
model trained for (several shared a device), and the seeds.
"""


def lines_read(path):
    if not os.path.exists(path):
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def key_of(line):
    return tuple(str(line[field]) for field in KEY)


def mean_of(lines, field="engine"):
    return statistics.fmean(float(line[field]) for line in lines)


def spread_text(values, digits):
    """"0.981 ± 0.002" """
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {(max(values) - min(values)) / 2:.{digits}f}"


def rows_write(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def budget_text(lines):
    first = lines[0]
    return (f"{first['epochs']} × {first['examples']}, {mean_of(lines, 'seconds'):.0f} s, "
            f"{len(lines)} seed{'s' if len(lines) > 1 else ''}")


def shape_text(lines, has_epochs):
    first = lines[0]
    devices = " and ".join(sorted({line["device"] for line in lines}))
    epochs = f"{first['epochs']} epochs, " if has_epochs else ""
    return (f"Profile `{first['profile']}`: {epochs}width {first['width']}, {first['layers']} layers, "
            f"{first['heads']} heads; trained on {devices}.")


def accuracy_table(tasks, groups):
    """Rows: variants. `groups`: (task, variant) -> lines of the CSV."""
    present = [task for task in tasks if any((task, v) in groups for v in SIX)]
    rows = []
    for variant in SIX:
        row = [variant]
        for task in present:
            lines = groups.get((task, variant))
            measured = spread_text([float(x["engine"]) for x in lines], 3) if lines else "–"
            row.append(f"{measured} / {PAPER[variant][TASKS.index(task)]:.3f}")
        rows.append(row)
    budget = ["*budget*"]
    for task in present:
        every = [line for v in SIX for line in groups.get((task, v), [])]
        seeds = len({line["seed"] for line in every})
        budget.append(f"{every[0]['epochs']} × {every[0]['examples']}, "
                      f"{mean_of(every, 'seconds'):.0f} s, {seeds} seed{'s' if seeds > 1 else ''}")
    return rows_write(["accuracy, here / paper", *present], rows + [budget])


def text_table(groups):
    base = groups.get((LANGUAGE, "QKV"))
    qkv_bytes = int(base[0]["kv_bytes_per_token"]) if base else 0
    rows = []
    for variant in EIGHT:
        lines = groups.get((LANGUAGE, variant))
        paper, paper_change = PAPER_TEXT[variant]
        if not lines:
            rows.append([variant, "–", "–", "–", "–", "–", f"{paper} ({paper_change:+.1f} %)", "–"])
            continue
        values = [float(line["engine"]) for line in lines]
        stored = int(lines[0]["kv_bytes_per_token"])
        change = f"{100 * (mean_of(lines) / mean_of(base) - 1):+.1f} %" if base else "–"
        saved = f"{100 * (1 - stored / qkv_bytes):g} %" if base else "–"
        rows.append([variant, spread_text(values, 2), change, lines[0]["parameters"], str(stored),
                     saved, f"{paper} ({paper_change:+.1f} %)", budget_text(lines)])
    return rows_write(["language model", "validation perplexity", "against QKV", "parameters",
                       "KV bytes per token, F16", "less than QKV", "paper, 300M", "budget"], rows)


def agreement(lines):
    """How far PyTorch and the engine are apart, over all lines."""
    apart = {LANGUAGE: 0.0, "": 0.0}
    for line in lines:
        mine, theirs = float(line["engine"]), float(line["pytorch"])
        kind, gap = (LANGUAGE, abs(mine / theirs - 1)) if line["task"] == LANGUAGE else ("",
                                                                                    abs(mine - theirs))
        apart[kind] = max(apart[kind], gap)
    return (f"Over all {len(lines)} models the engine's accuracy differs from PyTorch's by at "
            f"most {apart['']:.1g}, its perplexity by at most {100 * apart[LANGUAGE]:.1g} %.")


def page(lines):
    """The whole text of README.md."""
    parts = [HEAD]
    shapes = {}
    for line in lines:
        kind = 0 if line["task"] in SYNTHETIC else 1 if line["task"] in PICTURES else 2
        # pictures have epochs of their own, told in the budget
        epochs = int(line["epochs"]) if kind == 0 else 0
        key = (kind, line["profile"], epochs)
        shapes.setdefault(key, []).append(line)
    titles = ("Synthetic tasks: accuracy per token", "Pictures: accuracy", "Language model")
    titled = set()
    for key in sorted(shapes):
        groups = {}
        for line in sorted(shapes[key], key=lambda x: int(x["seed"])):
            groups.setdefault((line["task"], line["variant"]), []).append(line)
        if key[0] not in titled:
            parts.append(f"## {titles[key[0]]}\n")
            titled.add(key[0])
        parts.append(shape_text(shapes[key], key[0] == 0) + "\n")
        table = text_table(groups) if key[0] == 2 else accuracy_table(
            SYNTHETIC if key[0] == 0 else PICTURES, groups)
        parts.append(table + "\n")
    if lines:
        parts.append("## The engine against PyTorch\n\n" + agreement(lines) + "\n")
    return "\n".join(parts)


def faults(lines):
    """What is wrong with lines of the CSV, one text each."""
    seen, found = set(), []
    for number, line in enumerate(lines, 2):
        try:
            if set(line) != set(FIELDS):
                raise ValueError("not the fields of the head")
            metric = float(line["engine"])
            for field in set(FIELDS) - set(TEXTS):
                float(line[field])
            low, high = (1, float("inf")) if line["task"] == LANGUAGE else (0, 1)
            variants = EIGHT if line["task"] == LANGUAGE else SIX
            if line["task"] not in TASKS or line["variant"] not in variants:
                raise ValueError("unknown task or variant")
            if not low <= metric <= high or not float(line["seconds"]) > 0:
                raise ValueError("a number that cannot be")
            if (line["task"] == LANGUAGE) != (int(line["kv_bytes_per_token"]) > 0):
                raise ValueError("a cache where there is none, or none where there is one")
            if key_of(line) in seen:
                raise ValueError("the same cell twice")
            seen.add(key_of(line))
        except (ValueError, TypeError, KeyError) as error:
            found.append(f"line {number}: {error}")
    return found


def write():
    with open(PAGE + ".part", "w", encoding="utf-8") as file:
        file.write(page(lines_read(RESULTS)))
    os.replace(PAGE + ".part", PAGE)


def main(words):
    if words not in ([], ["--check"]):
        sys.exit("usage: paper_table.py [--check]")
    if not words:
        write()
        return 0
    lines = lines_read(RESULTS)
    found = faults(lines) if lines else [f"{RESULTS}: no lines"]
    with open(PAGE, encoding="utf-8") as file:
        if file.read() != page(lines):
            found.append(f"{PAGE} is not what {RESULTS} gives: run paper_table.py")
    for text in found:
        print(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
