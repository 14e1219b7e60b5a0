#!/usr/bin/env python3
"""Records what the shipped models say of real inputs, for the simulator.

    record_pairs.py BUILD CIFAR SCAN_FILE OUT.csv [PICTURES [COMMANDS]]

CIFAR is a folder with NAME.jpgpack and NAME.index.csv (offset, size, label, name) of test pictures, SCAN_FILE has lines
"IN: words OUT: ACTIONS". Both daemons are started with the shipped models; every input is asked for once with the route
`local` and once with `edge`. A row is one input:

    task        objects or commands
    confidence  of the local answer, as the daemon gives it to the policy
    local_right, edge_right   1 where the answer is the label
    agree       1 where both answers are the same
    bytes       of the input
    local_us, edge_us   compute time of the one and of the other on the machine that recorded, without any wait
    tokens      length of the local answer (0: a picture)
    same        how many of its first tokens the edge's answer has too
    sure        of a text: the confidence after each token but the last, with spaces between them
"""
import csv
import json
import os
import subprocess
import sys
import tempfile
import time



def daemons_start(build, work):
    tasks = os.path.join(work, "tasks.d")
    os.mkdir(tasks)
    for name in ("objects.conf", "commands.conf"):
        text = open("deploy/config/tasks.d/" + name).read()
        with open(os.path.join(tasks, name), "w") as out:
            out.write(text.replace("/usr/share/tandem/models", os.path.abspath("deploy/models")))
    with open(work + "/server.conf", "w") as out:
        out.write(f"[server]\nlisten = ipc://{work}/edge.sock\nstatus_socket = {work}/ss.sock\ntasks_dir = {tasks}\n")
    with open(work + "/client.conf", "w") as out:
        out.write(f"[client]\napp_socket = {work}/app.sock\nstatus_socket = {work}/cs.sock\ntasks_dir = {tasks}\n"
                  f"state_dir =\n[edge hall]\nurl = ipc://{work}/edge.sock\n")
    running = []
    for name in ("server", "client"):
        running.append(subprocess.Popen([f"{build}/bin/tandem-{name}", "--config", f"{work}/{name}.conf"],
                                        stderr=open(f"{work}/{name}.log", "w")))
    for _ in range(200):
        time.sleep(0.1)
        seen = subprocess.run([f"{build}/bin/tandemctl", "edges", "--socket", work + "/cs.sock"],
                              capture_output=True, text=True).stdout
        if "up" in seen:
            return running
    raise SystemExit("the daemons did not come up: " + work)


def ask(build, work, task, what, route):
    """One answer and the time that its model computed, in us, from the decision's record."""
    base = [f"{build}/bin/tandemctl"]
    done = subprocess.run(base + ["run", task, what, "--route", route, "--deadline-ms", "60000", "--json",
                                  "--socket", work + "/cs.sock"], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit("tandemctl run: " + done.stderr + done.stdout)
    result = json.loads(done.stdout)
    told = subprocess.run(base + ["explain", result["id"], "--json", "--socket", work + "/cs.sock"],
                          capture_output=True, text=True)
    return result["answer"], json.loads(told.stdout)


def way(build, words, tokens):
    """How sure the local model of commands is after each token of its answer but the last."""
    sure = []
    for count in range(1, tokens):
        told = subprocess.run([f"{build}/bin/tandem-model", "run", "deploy/models/commands-local.gguf", "--prompt", words,
                               "--max-tokens", str(count)], capture_output=True, text=True, check=True).stderr
        sure.append(f"{float(told.split('sure to ')[1].split()[0]):.3f}")
    return sure


def same(local, edge):
    """How many words both texts begin with."""
    return len(os.path.commonprefix([local.split(), edge.split()]))


def row(build, work, task, what, size, right):
    local, local_told = ask(build, work, task, what, "local")
    edge, edge_told = ask(build, work, task, what, "edge")
    key = "label" if task == "objects" else "text"
    tokens = local.get("tokens", 0) if task == "commands" else 0
    return [task, f"{local_told['confidence']:.4f}", int(local[key].strip() == right), int(edge[key].strip() == right),
            int(local[key] == edge[key]), size, int(1000 * local_told["outcome"]["local_run_ms"]),
            int(1000 * edge_told["outcome"]["edge_run_ms"]), tokens,
            same(local[key], edge[key]) if tokens else 0, " ".join(way(build, what, tokens))]


def main():
    build, cifar, scan, out_path = sys.argv[1:5]
    pictures = int(sys.argv[5]) if len(sys.argv) > 5 else 2500
    commands = int(sys.argv[6]) if len(sys.argv) > 6 else 1000
    work = tempfile.mkdtemp(prefix="pairs")
    running = daemons_start(build, work)
    try:
        with open(out_path, "w", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow("task confidence local_right edge_right agree bytes local_us edge_us tokens same sure".split())
            pack = open(os.path.join(cifar, "test_a.jpgpack"), "rb").read()
            names = open(os.path.join(cifar, "classes.txt")).read().split()
            for entry in list(csv.DictReader(open(os.path.join(cifar, "test_a.index.csv"))))[:pictures]:
                at, size = int(entry["offset"]), int(entry["size"])
                with open(work + "/picture.jpg", "wb") as picture:
                    picture.write(pack[at:at + size])
                out.writerow(row(build, work, "objects", work + "/picture.jpg", size, names[int(entry["label"])]))
            for line in open(scan).read().splitlines()[:commands]:
                words, actions = line[len("IN: "):].split(" OUT: ")
                out.writerow(row(build, work, "commands", words, len(words), actions.strip()))
    finally:
        for process in running:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
