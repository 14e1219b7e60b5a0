"""The data of the paper's comparison, as tensors.

Every task is `Data`: what the model sees and should say, for training and for the test. Pictures are
uint8; a language model's text is one row of token ids.
"""
import collections
import dataclasses
import gzip
import json
import os
import re
import sys

import numpy as np
import torch

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "train"))

SYNTHETIC = ("reverse", "sort", "sub", "swap", "copy")
VISION = {"mnist": ((0.1307,), (0.3081,)),
          "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))}
LANGUAGE = "shakespeare"
TASKS = SYNTHETIC + tuple(VISION) + (LANGUAGE,)


@dataclasses.dataclass
class Data:
    train: torch.Tensor        # [N, T] ids, [N, channels, n, n] pixels, or [tokens]
    train_truth: torch.Tensor  # [N, T], [N], or the same as train
    test: torch.Tensor
    test_truth: torch.Tensor


# ---- synthetic sequences of digits ----

def answer(task, rows):
    """[N, T] digits to what the task makes of them (facts of the paper, appendix)."""
    half = rows.shape[1] // 2
    return {"reverse": lambda: rows.flip(1), "sort": lambda: rows.sort(dim=1).values,
            "sub": lambda: 9 - rows, "copy": lambda: rows.clone(),
            "swap": lambda: torch.cat((rows[:, half:], rows[:, :half]), dim=1)}[task]()


def synthetic(task, length, train=10000, test=2000):
    """The same rows for every variant and seed of training."""
    generator = torch.Generator().manual_seed(20260604 + SYNTHETIC.index(task))
    rows = torch.randint(10, (train + test, length), generator=generator)
    truth = answer(task, rows)
    return Data(rows[:train], truth[:train], rows[train:], truth[train:])


# ---- pictures ----

def idx_read(path):
    """A file of the MNIST form."""
    with gzip.open(path) as file:
        data = file.read()
    shape = [int.from_bytes(data[4 + 4 * i:8 + 4 * i], "big") for i in range(data[3])]
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy())


def vision(task, folder):
    folder = os.path.join(folder, task)
    if task == "mnist":
        parts = [idx_read(os.path.join(folder, name + "-ubyte.gz")) for name in
                 ("train-images-idx3", "train-labels-idx1", "t10k_a-images-idx3", "t10k_a-labels-idx1")]
        return Data(parts[0][:, None], parts[1].long(), parts[2][:, None], parts[3].long())
    import objects  # needs Pillow

    parts = [part for split in ("train", "test_a") for part in objects.read(folder, split)]
    return Data(objects.planes(parts[0]).contiguous(), parts[1], objects.planes(parts[2]).contiguous(), parts[3])


# ---- text ----

# GPT-2's division of a text into words, for ASCII.
WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def byte_letters():
    """The letter that stands for each byte in GPT-2's vocabularies."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(plain))
    return [letters[byte] for byte in range(256)]


def merge(word, pair):
    out, at = [], 0
    while at < len(word):
        if at + 1 < len(word) and (word[at], word[at + 1]) == pair:
            out.append(word[at] + word[at + 1])
            at += 2
        else:
            out.append(word[at])
            at += 1
    return tuple(out)


def bpe_train(text, merges):
    """The `merges` most frequent pairs one after the other; ties go to the smaller pair."""
    letters = byte_letters()
    words = collections.Counter(WORDS.findall(text))
    words = {tuple(letters[byte] for byte in word.encode()): count for word, count in words.items()}
    found = []
    for _ in range(merges):
        pairs = collections.Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        found.append(best)
        words = {merge(word, best): count for word, count in words.items()}
    return found


def bpe_write(folder, merges):
    """vocab.json and merges.txt, as `tandem-model convert --tokenizer` takes them."""
    names = byte_letters() + [left + right for left, right in merges]
    with open(os.path.join(folder, "vocab.json"), "w") as file:
        json.dump({name: i for i, name in enumerate(names)}, file)
    with open(os.path.join(folder, "merges.txt"), "w") as file:
        file.write("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    return names


def encode(text, merges):
    """Ids by the merges in their order."""
    letters = byte_letters()
    ids = {name: i for i, name in enumerate(letters + [a + b for a, b in merges])}
    rank = {pair: i for i, pair in enumerate(merges)}
    known = {}
    out = []
    for text_word in WORDS.findall(text):
        if text_word not in known:
            word = tuple(letters[byte] for byte in text_word.encode())
            while True:
                pairs = [pair for pair in zip(word, word[1:]) if pair in rank]
                if not pairs:
                    break
                word = merge(word, min(pairs, key=rank.get))
            known[text_word] = [ids[part] for part in word]
        out.extend(known[text_word])
    return torch.tensor(out)


def language(folder, work, merges=256):
    """Nine tenths of the text to learn from, the rest for the test; the tokenizer is made from the
    former. `work` keeps the tokenizer and the test's text for the engine."""
    with open(os.path.join(folder, "text", "tinyshakespeare_train.txt")) as file:
        text = file.read()
    if not text.isascii():
        raise ValueError("the words of this text are not cut as GPT-2 cuts them")
    cut = text.index("\n\n", len(text) * 9 // 10) + 2
    found = bpe_train(text[:cut], merges)
    os.makedirs(work, exist_ok=True)
    bpe_write(work, found)
    with open(os.path.join(work, "test.txt"), "w") as file:
        file.write(text[cut:])
    train, test = encode(text[:cut], found), encode(text[cut:], found)
    return Data(train, train, test, test)


def read(task, folder, work):
    """Any task's data; `work` keeps what the engine's evaluation needs and a copy that loads fast."""
    kept = os.path.join(work, f"data-{task}.pt")
    if os.path.exists(kept):
        return Data(**torch.load(kept))
    if task in SYNTHETIC:
        data = synthetic(task, 64)
    elif task in VISION:
        data = vision(task, folder)
    else:
        data = language(folder, work)
    os.makedirs(work, exist_ok=True)
    torch.save(dataclasses.asdict(data), kept + ".part")
    os.replace(kept + ".part", kept)
    return data
