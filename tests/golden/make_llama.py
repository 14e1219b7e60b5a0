#!/usr/bin/env python3
"""Writes the llama cases of tests/golden/data: tiny models with the outputs PyTorch computes.

    /usr/bin/python3 tests/golden/make_llama.py

Needs python3-torch; run at authoring time only. Files as make_golden.py has them. The model is
written plainly, with whole matrices of scores and rotations as complex numbers or as halves, so
that nothing of the engine's ideas about pages and tables is in it.
"""
import dataclasses
import math
import pathlib
import random
import struct
import sys

import numpy as np
import torch
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "deploy/models/train"))
import gguf_writer  # noqa: E402

DATA = HERE / "data"
WIDTH, FORWARD, LAYERS, HEADS, CONTEXT, VOCABULARY, TOKENS = 32, 48, 2, 4, 96, 41, 83
HEAD = WIDTH // HEADS


@dataclasses.dataclass
class Case:
    kv_heads: int = HEADS
    projection: str = "QKV"
    pairing: str = "adjacent"
    value: str = "unrotated"
    rotated: int = HEAD          # numbers of a head that turn
    base: float = 10000.0
    biases: bool = False
    fused: bool = False
    own_output: bool = False
    dtype: str = "F32"


CASES = {
    "llama_qkv": Case(own_output=True),
    "llama_qkv_halves": Case(pairing="halves"),
    "llama_qkv_g2": Case(kv_heads=2, base=500000.0),
    "llama_qkv_g1_part": Case(kv_heads=1, rotated=4, pairing="halves", biases=True),
    "llama_fused": Case(kv_heads=2, fused=True, biases=True, rotated=6),
    "llama_kv": Case(projection="Q-K=V"),
    "llama_kv_g2_halves": Case(projection="Q-K=V", kv_heads=2, pairing="halves"),
    "llama_kv_relative": Case(projection="Q-K=V", value="relative"),
    "llama_kv_g1_relative": Case(projection="Q-K=V", value="relative", kv_heads=1,
                                 pairing="halves", rotated=6),
    "llama_qk": Case(projection="Q=K-V"),
    "llama_q": Case(projection="Q=K=V", rotated=4),
    "llama_q_relative": Case(projection="Q=K=V", value="relative", pairing="halves"),
    "llama_kv_g2_f16": Case(projection="Q-K=V", kv_heads=2, dtype="F16"),
}


def rotate(x, case, sign=1.0):
    """x [heads, tokens, HEAD] turned by its positions, or back."""
    count, n = x.shape[1], case.rotated
    frequency = case.base ** (-torch.arange(0, n, 2, dtype=torch.float64) / n)
    angle = sign * torch.arange(count, dtype=torch.float64)[:, None] * frequency
    turned, rest = x[..., :n].double(), x[..., n:]
    if case.pairing == "adjacent":
        pairs = torch.view_as_complex(turned.reshape(*turned.shape[:-1], n // 2, 2).contiguous())
        turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)
    else:
        a, b = turned.chunk(2, dim=-1)
        turned = torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)
    return torch.cat((turned.to(x.dtype), rest), -1)


def rms_norm(x, weight, epsilon):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + epsilon) * weight


def attend(case, q, k, v):
    """q [H, n, HEAD], k and v [g, n, HEAD] (v None: it is k), nothing turned yet."""
    shared = v is None
    q, turned = rotate(q, case), rotate(k, case)
    values = v if not shared else turned if case.value == "relative" else k
    turned, values = (t.repeat_interleave(HEADS // case.kv_heads, 0) for t in (turned, values))
    n = q.shape[1]
    scores = q @ turned.transpose(1, 2) / math.sqrt(HEAD)
    scores = scores.masked_fill(torch.ones(n, n).triu(1).bool(), float("-inf"))
    mixed = scores.softmax(-1) @ values
    if shared and case.value == "relative":
        mixed = rotate(mixed, case, -1.0)
    return mixed.transpose(0, 1).reshape(n, WIDTH)


def weights_make(case, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator)
    kv = case.kv_heads * HEAD
    tensors = {"token_embd.weight": draw(VOCABULARY, WIDTH) * 0.08,
               "output_norm.weight": 1 + 0.2 * draw(WIDTH)}
    if case.own_output:
        tensors["output.weight"] = draw(VOCABULARY, WIDTH) * 0.2
    for i in range(LAYERS):
        shapes = {"attn_q": (WIDTH, WIDTH), "attn_k": (kv, WIDTH), "attn_v": (kv, WIDTH),
                  "attn_output": (WIDTH, WIDTH), "ffn_gate": (FORWARD, WIDTH), "ffn_up": (FORWARD, WIDTH),
                  "ffn_down": (WIDTH, FORWARD)}
        if case.projection in ("Q=K-V", "Q=K=V"):
            del shapes["attn_k"]
        if case.projection in ("Q-K=V", "Q=K=V"):
            del shapes["attn_v"]
        for name, shape in shapes.items():
            tensors[f"blk.{i}.{name}.weight"] = draw(*shape) * 0.7 / math.sqrt(shape[1])
            if case.biases:
                tensors[f"blk.{i}.{name}.bias"] = draw(shape[0]) * 0.3
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{i}.{name}.weight"] = 1 + 0.2 * draw(WIDTH)
    for name, value in tensors.items():     # what the file's type keeps of it
        if case.dtype == "F16" and value.dim() > 1:
            tensors[name] = value.half().float()
    return tensors


def forward(case, tensors, tokens, epsilon):
    heads = lambda x, count: x.view(-1, count, HEAD).transpose(0, 1)
    x = tensors["token_embd.weight"][tokens]
    for i in range(LAYERS):
        linear = lambda name, y: functional.linear(y, tensors[f"blk.{i}.{name}.weight"],
                                                   tensors.get(f"blk.{i}.{name}.bias"))
        has = lambda name: f"blk.{i}.{name}.weight" in tensors
        h = rms_norm(x, tensors[f"blk.{i}.attn_norm.weight"], epsilon)
        q = linear("attn_q", h)
        k = linear("attn_k", h) if has("attn_k") else q
        v = heads(linear("attn_v", h), case.kv_heads) if has("attn_v") else None
        x = x + linear("attn_output", attend(case, heads(q, HEADS), heads(k, case.kv_heads), v))
        h = rms_norm(x, tensors[f"blk.{i}.ffn_norm.weight"], epsilon)
        x = x + linear("ffn_down", functional.silu(linear("ffn_gate", h)) * linear("ffn_up", h))
    x = rms_norm(x, tensors["output_norm.weight"], epsilon)
    return x @ tensors.get("output.weight", tensors["token_embd.weight"]).T


def fuse(tensors):
    for i in range(LAYERS):
        for kind in ("weight", "bias"):
            parts = [tensors.pop(f"blk.{i}.attn_{c}.{kind}", None) for c in "qkv"]
            if parts[0] is not None:
                tensors[f"blk.{i}.attn_qkv.{kind}"] = torch.cat(parts)


def pairs_of(case, epsilon):
    pairs = [("general.architecture", "string", "llama")]
    counts = {"context_length": CONTEXT, "embedding_length": WIDTH, "block_count": LAYERS,
              "feed_forward_length": FORWARD, "attention.head_count": HEADS,
              "attention.head_count_kv": case.kv_heads, "rope.dimension_count": case.rotated}
    pairs += [(f"llama.{key}", "u32", value) for key, value in counts.items()]
    pairs += [("llama.attention.layer_norm_rms_epsilon", "f32", epsilon),
              ("llama.rope.freq_base", "f32", case.base)]
    if case.projection != "QKV":
        pairs.append(("llama.attention.projection", "string", case.projection))
    if case.pairing != "adjacent":
        pairs.append(("llama.rope.pairing", "string", case.pairing))
    if case.value != "unrotated":
        pairs.append(("llama.attention.shared_value", "string", case.value))
    return pairs


# ---- scored pieces: a plain implementation of its own ----

SIGN = "\u2581"
TRAINING = """The robot can't reach the cup, so it turns left and walks to the door. It walks and walks.
Once upon a time there was a robot. It turned and turned, the end of the robot and the time.
""" * 2
TEXTS = ["", " ", "  ", "the robot", " the  robot ", "Once upon a time, there was a cup.", "walk\n\nturn\tleft",
         "Zürich über café 日本語 😀", "a\u2581b", "thethe the the", "x" * 40, "12 and\r\n34", "<unk></s><0x41>",
         "the robotthe robot walks", "\x00\x7f"]
# Letters in any order: here it shows which of two pieces that share a letter was joined first.
TEXTS += ["".join(random.Random(seed).choices("theandro ", k=200)) for seed in range(4)]


def pieces_learn(count):
    """Pieces that join neighbours inside words, the most frequent pair first."""
    words = [list(SIGN + word) for word in TRAINING.split(" ")]
    pieces = []
    while len(pieces) < count:
        seen = {}
        for word in words:
            for pair in zip(word, word[1:]):
                seen[pair[0] + pair[1]] = seen.get(pair[0] + pair[1], 0) + 1
        if not seen:
            break
        best = max(seen, key=lambda piece: (seen[piece], piece))
        pieces.append(best)
        words = [pieces_join(word, lambda piece: 0.0 if piece == best else None) for word in words]
    pairs = [left + right for left in "theandro" for right in "theandro"]   # rivals for the same letters
    random.Random(1).shuffle(pairs)
    return list(dict.fromkeys(pieces + pairs))


def pieces_join(symbols, score):
    """Joins the neighbours of the highest score, the leftmost of equals, until none has one."""
    symbols = list(symbols)
    while True:
        best = None
        for i, (left, right) in enumerate(zip(symbols, symbols[1:])):
            found = score(left + right)
            if found is not None and (best is None or found > best[0]):
                best = (found, i)
        if best is None:
            return symbols
        symbols[best[1]:best[1] + 2] = [symbols[best[1]] + symbols[best[1] + 1]]


def pieces_encode(text, scores, ids, add_space):
    if text == "":
        return []
    out = []
    for symbol in pieces_join(((" " if add_space else "") + text).replace(" ", SIGN), scores.get):
        out += [ids[symbol]] if symbol in scores else [3 + byte for byte in symbol.encode("utf-8")]
    return out


def scored():
    pieces = pieces_learn(120)
    letters = sorted(set(TRAINING.replace(" ", SIGN)) - {"\n"})
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + pieces + letters
    first = 3 + 256
    for name, add_space in (("scored", True), ("scored_bare", False)):
        # Of the bare one some are equal, so that the place decides.
        values = [-float(i if add_space else i // 3) for i in range(len(pieces) + len(letters))]
        scores = dict(zip(tokens[first:], values))
        ids = {token: i for i, token in enumerate(tokens)}
        case = Case()
        tensors = weights_make(case, 7)
        tensors["token_embd.weight"] = torch.zeros(len(tokens) + 1, WIDTH)
        extra = [("tokenizer.ggml.model", "string", "llama"), ("tokenizer.ggml.tokens", "[string]", tokens),
                 ("tokenizer.ggml.scores", "[f32]", [0.0] * first + values),
                 ("tokenizer.ggml.token_type", "[i32]", [2, 3, 3] + [6] * 256 + [1] * len(values))]
        if not add_space:
            extra += [("tokenizer.ggml.add_space_prefix", "bool", False),
                      ("tokenizer.ggml.add_bos_token", "bool", False)]
        gguf_writer.write(str(DATA / f"{name}.gguf"), pairs_of(case, 1e-5) + extra,
                          {key: value.numpy() for key, value in tensors.items()}, "F16")
        out = struct.pack("<I", len(TEXTS))
        for text in TEXTS:
            data, found = text.encode("utf-8"), pieces_encode(text, scores, ids, add_space)
            out += struct.pack("<I", len(data)) + data + struct.pack(f"<I{len(found)}I", len(found), *found)
        (DATA / f"{name}.golden").write_bytes(out)


def main():
    torch.set_num_threads(1)
    scored()
    for seed, (name, case) in enumerate(CASES.items()):
        tensors = weights_make(case, 300 + seed)
        tokens = torch.randint(VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(seed))
        epsilon = 1e-5
        with torch.no_grad():
            logits = forward(case, tensors, tokens, epsilon).numpy()
        if case.fused:
            fuse(tensors)
        gguf_writer.write(str(DATA / f"{name}.gguf"), pairs_of(case, epsilon),
                          {key: value.numpy() for key, value in tensors.items()}, case.dtype)
        (DATA / f"{name}.golden").write_bytes(
            b"GOLD" + struct.pack("<4I", 0, TOKENS, *logits.shape)
            + tokens.numpy().astype("<u4").tobytes() + logits.astype("<f4").tobytes())
        print(name, float(np.abs(logits).max()))


if __name__ == "__main__":
    main()
