#!/usr/bin/env python3
"""The paper's comparison of projections, trained here and measured by Tandem's engine.

    paper.py run --data DIR [--profile full --device cuda] [--budget-min 90]
    paper.py render

Each cell of the table is a model: task, variant, seed. It is trained by train.py, converted by
`tandem-model convert` and measured by `tandem-model evaluate` or `perplexity`; one line of
paper/results.csv keeps what came out. Cells that stand there are not done again, the cheapest of the
others come first, and one that was interrupted starts anew. `render` writes paper/README.md.
"""
import argparse
import concurrent.futures
import csv
import json
import multiprocessing
import os
import struct
import subprocess
import sys
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "paper", "results.csv")
FIELDS = ("profile", "task", "variant", "seed", "width", "layers", "heads", "kv_heads", "parameters", "kv_bytes_per_token",
          "epochs", "examples", "seconds", "device", "train_loss", "metric", "pytorch", "engine")
VARIANTS = ("QKV", "Q=K-V", "(Q=K-V)+", "Q-K=V", "Q=K=V", "(Q=K=V)+")
LANGUAGE_VARIANTS = ("QKV", "Q=K-V", "Q-K=V", "Q=K=V", "GQA", "MQA", "Q-GQA", "Q-MQA")
SEEDS = (1, 2)


# ---- the cells ----

def cells(profile, tasks):
    """(task, variant, seed), the cheapest first."""
    import paper_data
    import train

    def cost(cell):
        shape, recipe = train.shape_of(cell[0], cell[1], profile), train.recipe_of(cell[0], profile)
        examples = {"mnist": 60000, "cifar10": 50000, paper_data.LANGUAGE: 500000 // shape.positions}.get(cell[0], 10000)
        tokens = shape.positions if shape.kind != "encoder" else 64
        return cell[2], recipe.epochs * examples * tokens * shape.layers * shape.width * shape.width

    found = [(task, variant, seed) for task in tasks for seed in SEEDS
             for variant in (LANGUAGE_VARIANTS if task == paper_data.LANGUAGE else VARIANTS)]
    return sorted(found, key=cost)


def epochs_of(arguments, task):
    import train

    return arguments.epochs or train.recipe_of(task, arguments.profile).epochs


def results():
    if not os.path.exists(RESULTS):
        return []
    with open(RESULTS, newline="") as file:
        return list(csv.DictReader(file))


def result_add(row):
    """One line, on the disk when this returns."""
    new = not os.path.exists(RESULTS)
    with open(RESULTS, "a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
        file.flush()
        os.fsync(file.fileno())


# ---- what the engine is given ----

def png_write(path, pixels):
    """pixels [channels, height, width] uint8, 1 or 3 channels."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    channels, height, width = pixels.shape
    rows = pixels.permute(1, 2, 0).reshape(height, width * channels).numpy()
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">2I5B", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data, 1)) + chunk(b"IEND", b""))


def list_write(task, data, work):
    """The test as `tandem-model evaluate` reads it; once."""
    path = os.path.join(work, task + ".tsv")
    if os.path.exists(path):
        return path
    folder = os.path.join(work, task)
    lines = []
    for i, (x, y) in enumerate(zip(data.test, data.test_truth)):
        if x.dim() == 1:
            lines.append(",".join(map(str, x.tolist())) + "\t" + ",".join(map(str, y.tolist())))
        else:
            os.makedirs(folder, exist_ok=True)
            png_write(os.path.join(folder, f"{i}.png"), x)
            lines.append(f"{task}/{i}.png\t{y.item()}")
    part = f"{path}.{os.getpid()}"
    with open(part, "w") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(part, path)
    return path


def tool(arguments, *words):
    """tandem-model's standard output; its error line ends the cell."""
    done = subprocess.run([arguments.tool, *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"{arguments.tool} {words[0]}: exit status {done.returncode}")
    return done.stdout


def engine_measure(arguments, task, data, base, context):
    """The engine's figure, parameters and KV bytes a token of the checkpoint BASE.pt."""
    words = ["convert", base + ".pt", base + ".gguf", "--type", "F32"]
    if context:
        words += ["--tokenizer", os.path.join(arguments.work, "vocab.json"), "--merges", os.path.join(arguments.work, "merges.txt")]
    tool(arguments, *words)
    info = json.loads(tool(arguments, "info", base + ".gguf", "--json"))
    if context:
        out = tool(arguments, "perplexity", base + ".gguf", os.path.join(arguments.work, "test.txt"), "--ctx", str(context))
    else:
        out = tool(arguments, "evaluate", base + ".gguf", list_write(task, data, arguments.work))
    return float(out.split()[-1]), info["parameters"], info["kv_bytes_per_token"]


def cell_run(arguments, task, variant, seed):
    """Trains and measures one model; its line of results.csv."""
    import torch
    import paper_data
    import train

    torch.set_num_threads(arguments.threads)
    data = paper_data.read(task, arguments.data, arguments.work)
    model, cost = train.train(task, variant, arguments.profile, seed, data, arguments.device, arguments.epochs)
    figure = train.measure(task, model, data)
    shape = model.shape
    name = f"{arguments.profile}-{task}-{variant}-{seed}".translate(str.maketrans("()+=", "__pe"))
    base = os.path.join(arguments.work, name)
    torch.save(train.checkpoint(task, variant, model, figure), base + ".pt")
    engine, parameters, kv_bytes = engine_measure(arguments, task, data, base, shape.positions if shape.kind == "lm" else 0)
    return {"profile": arguments.profile, "task": task, "variant": variant, "seed": seed, "width": shape.width,
            "layers": shape.layers, "heads": shape.heads, "kv_heads": shape.kv_heads, "parameters": parameters,
            "kv_bytes_per_token": kv_bytes, "metric": "perplexity" if shape.kind == "lm" else "accuracy",
            "pytorch": f"{figure:.6f}", "engine": f"{engine:.6f}", **cost}


def prepare(arguments, tasks):
    """The data and the tests' lists, before several processes want them."""
    import paper_data

    for task in tasks:
        data = paper_data.read(task, arguments.data, arguments.work)
        if task != paper_data.LANGUAGE:
            list_write(task, data, arguments.work)


def run(arguments):
    try:
        import paper_data
    except ImportError as error:
        sys.exit(f"paper.py: {error.name} is missing: apt install python3-torch python3-numpy python3-pil")

    tasks = arguments.tasks.split(",") if arguments.tasks else list(paper_data.TASKS)
    unknown = [task for task in tasks if task not in paper_data.TASKS]
    if unknown:
        sys.exit(f"paper.py: no task {unknown[0]}; there are {', '.join(paper_data.TASKS)}")
    wanted = [part for task, part in (("mnist", "mnist"), ("cifar10", "cifar10"), (paper_data.LANGUAGE, "text")) if task in tasks]
    for part in wanted:
        if not os.path.isdir(os.path.join(arguments.data, part)):
            sys.exit(f"paper.py: {arguments.data} has no folder {part}; DATA=DIR names where mnist, cifar10 and text are, "
                     f"TASKS=... leaves some out")
    os.makedirs(arguments.work, exist_ok=True)
    start = time.time()
    done = {(row["profile"], row["task"], row["variant"], int(row["seed"]), int(row["epochs"])) for row in results()}
    left = [cell for cell in cells(arguments.profile, tasks) if (arguments.profile, *cell, epochs_of(arguments, cell[0])) not in done]
    print(f"{len(left)} cells to do, {arguments.budget_min} minutes", flush=True)
    prepare(arguments, tasks)
    failed, count = 0, len(left)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs, context) as pool:
        running = {}
        while running or left:
            over = time.time() - start > arguments.budget_min * 60
            if over:
                left = []
            while left and len(running) < arguments.jobs:
                cell = left.pop(0)
                running[pool.submit(cell_run, arguments, *cell)] = cell
            if not running:
                break
            for future in concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED).done:
                cell = running.pop(future)
                said = f"[{time.time() - start:5.0f} s, {len(left) + len(running)} of {count} left] {' '.join(map(str, cell))}"
                if future.exception():
                    failed += 1
                    print(f"{said}: {future.exception()}", flush=True)
                    continue
                row = future.result()
                result_add(row)
                print(f"{said}: {row['metric']} {row['engine']} (PyTorch {row['pytorch']}), {row['seconds']} s", flush=True)
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description="The paper's tables, trained here and measured by Tandem's engine.")
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="do the cells that are missing")
    runner.add_argument("--data", required=True, help="folder with mnist, cifar10 and text")
    runner.add_argument("--work", default="build/paper", help="folder for data, checkpoints and model files")
    runner.add_argument("--tool", default="build/bin/tandem-model")
    runner.add_argument("--profile", default="small", choices=("small", "full"))
    runner.add_argument("--tasks", default="", help="some tasks, with commas; all by default")
    runner.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    runner.add_argument("--budget-min", type=float, default=90, help="no cell begins after these minutes")
    runner.add_argument("--jobs", type=int, default=2, help="cells at one time")
    runner.add_argument("--threads", type=int, default=1, help="of each cell")
    runner.add_argument("--epochs", type=int, help="instead of the profile's: cells of their own")
    commands.add_parser("render", help="write paper/README.md from paper/results.csv")
    arguments = parser.parse_args()
    if arguments.command == "run":
        return run(arguments)
    import paper_table

    return paper_table.main([])


if __name__ == "__main__":
    sys.exit(main())
