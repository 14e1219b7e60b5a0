#!/usr/bin/env python3
"""Writes tests/golden/data: tiny models with the outputs PyTorch computes for them.

    /usr/bin/python3 tests/golden/make_golden.py

Needs python3-torch and python3-pil; run at authoring time only, the results are committed. Every
case NAME is a model NAME.gguf and a file NAME.golden of little-endian numbers:

    "GOLD", u32 kind (0 tokens, 1 picture), u32 count of inputs, u32 rows, u32 columns,
    inputs (u32 token ids, or f32 pixels as the model wants them), f32 logits [rows, columns]
"""
import io
import pathlib
import struct
import sys
import unicodedata

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "deploy/models/train"))
import gguf_writer  # noqa: E402
import model as models  # noqa: E402

DATA = HERE / "data"
GREEDY_TOKENS = 83   # more than two pages of 32, with a rest


def write_case(name, kind, inputs, logits):
    head = b"GOLD" + struct.pack("<4I", kind, inputs.size, *logits.shape)
    form = "<u4" if kind == 0 else "<f4"
    (DATA / f"{name}.golden").write_bytes(
        head + inputs.astype(form).tobytes() + logits.astype("<f4").tobytes())


def make_model(name, config, seed, dtype="F32"):
    """A random model, written and read back, so that F16 rounding is in the reference too."""
    model = models.Model(config)
    models.randomize(model, seed)
    model.eval()
    path = DATA / f"{name}.gguf"
    models.save(model, str(path), dtype)
    return models.load(str(path))


def tokens_case(name, config, seed, count, dtype="F32"):
    model = make_model(name, config, seed, dtype)
    generator = torch.Generator().manual_seed(seed + 1000)
    tokens = torch.randint(config.vocabulary, (1, count), generator=generator)
    with torch.no_grad():
        logits = model(tokens)[0].float().numpy()
    write_case(name, 0, tokens.numpy(), logits)


def picture_case(name, config, seed, dtype="F32"):
    model = make_model(name, config, seed, dtype)
    width, height, channels = config.image
    generator = torch.Generator().manual_seed(seed + 1000)
    pixels = torch.randn((1, channels, height, width), generator=generator)
    with torch.no_grad():
        logits = model(pixels).float().numpy()
    write_case(name, 1, pixels[0].permute(1, 2, 0).contiguous().numpy(), logits)


def decoders():
    cases = [("qkv", "QKV", 4), ("qk", "Q=K-V", 4), ("kv", "Q-K=V", 4), ("q", "Q=K=V", 4),
             ("qkv_g2", "QKV", 2), ("qkv_g1", "QKV", 1), ("kv_g2", "Q-K=V", 2), ("kv_g1", "Q-K=V", 1)]
    for seed, (short, projection, kv_heads) in enumerate(cases):
        for dtype in ("F32", "F16"):
            config = models.Config(
                architecture="gpt2", width=32, feed_forward=48, layers=2, heads=4,
                kv_heads=kv_heads, projection=projection, context=96, vocabulary=41,
                activation="gelu_tanh" if short == "qkv_g2" else "gelu_erf")
            tokens_case(f"decoder_{short}_{dtype.lower()}", config, seed, GREEDY_TOKENS, dtype)


def encoders():
    for seed, (name, projection, channels) in enumerate(
            [("qkv", "QKV", 0), ("kv", "Q-K=V", 0), ("qk_x", "Q=K-V", 10), ("q_x", "Q=K=V", 11)]):
        config = models.Config(architecture="tandem-encoder", width=32, feed_forward=64, layers=2,
                               heads=4, projection=projection, context=24, vocabulary=19, classes=7,
                               position_channels=channels)
        tokens_case(f"encoder_{name}", config, 100 + seed, 20)


def vits():
    conv = ((12, 3, 1, 1, 3), (32, 3, 1, 1, 2))
    cases = [("patch_cls", "QKV", "patch", "cls", 0, 3, "F32"),
             ("patch_seq_x", "Q=K-V", "patch", "sequence", 50, 3, "F32"),
             ("conv_cls_x", "Q=K=V", "conv", "cls", 9, 3, "F32"),
             ("conv_seq", "Q-K=V", "conv", "sequence", 0, 3, "F16"),
             ("patch_grey", "Q-K=V", "patch", "cls", 0, 1, "F16")]
    for seed, (name, projection, stem, pooling, channels, colours, dtype) in enumerate(cases):
        config = models.Config(
            architecture="tandem-vit", width=32, feed_forward=64, layers=2, heads=4,
            projection=projection, image=(16, 12, colours), stem=stem, patch_size=4, conv=conv,
            pooling=pooling, position_channels=channels, mean=(0.5, 0.4, 0.3)[:colours],
            std=(0.2, 0.25, 0.3)[:colours], labels=tuple(f"c{i}" for i in range(5)))
        picture_case(f"vit_{name}", config, 200 + seed, dtype)


# ---- pictures: decoded by PIL, resized by PyTorch ----


def smooth(width, height):
    """A colourful picture with edges, the same everywhere."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 127 + 120 * np.sin(x / 7) * np.cos(y / 11)
    green = 255 * ((x // 9 + y // 13) % 2)
    blue = 255 * x / max(1, width - 1)
    return np.clip(np.stack((red, green, blue), axis=2), 0, 255).astype(np.uint8)


def pictures():
    """NAME.golden holds one u32 triple (width, height, channels) as inputs and the resized floats,
    0..255, as rows [height, width·channels]; kind 2."""
    big = Image.fromarray(smooth(97, 61))
    big.save(DATA / "picture.jpg", quality=90)
    big.save(DATA / "progressive.jpg", quality=85, progressive=True)
    big.convert("L").save(DATA / "grey.jpg", quality=90)
    big.convert("CMYK").save(DATA / "cmyk.jpg", quality=50)
    big.save(DATA / "picture.png")
    big.quantize(32).save(DATA / "palette.png")
    big.convert("RGBA").save(DATA / "alpha.png")
    for name, file, size in (("jpg_down", "picture.jpg", (32, 24)), ("jpg_up", "picture.jpg", (130, 90)),
                             ("jpg_same", "picture.jpg", (97, 61)), ("jpg_mixed", "progressive.jpg", (40, 100)),
                             ("png_down", "picture.png", (32, 32)), ("palette_down", "palette.png", (16, 16)),
                             ("alpha_down", "alpha.png", (31, 17)), ("grey_up", "grey.jpg", (100, 64))):
        image = Image.open(DATA / file).convert("RGB")
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        width, height = size
        if image.size != size:
            pixels = functional.interpolate(pixels, size=(height, width), mode="bilinear",
                                            antialias=True, align_corners=False)
        values = pixels[0].permute(1, 2, 0).reshape(height, width * 3).numpy()
        head = b"GOLD" + struct.pack("<4I", 2, 3, *values.shape)
        if name in ("jpg_up", "jpg_same", "grey_up"):   # every 7th row is enough
            values = values[::7]
            head = b"GOLD" + struct.pack("<4I", 2, 3, *values.shape)
        body = struct.pack("<3I", width, height, 3) + values.astype("<f4").tobytes()
        (DATA / f"{name}.golden").write_bytes(head + body)


# ---- byte-level BPE: a plain implementation of its own ----


def byte_alphabet():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    names = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        names.setdefault(byte, chr(256 + len(names) - len(printable)))
    return names


SPACES = set("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}


def kind_of(char):
    if char in SPACES:
        return "s"
    first = unicodedata.category(char)[0]
    return first if first in "LN" else "o"


def pieces_of(text):
    """'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"""
    at = 0
    while at < len(text):
        end = at
        for contraction in ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"):
            if text.startswith(contraction, at):
                end = at + len(contraction)
                break
        if end == at:
            start = at + (text[at] == " " and at + 1 < len(text) and kind_of(text[at + 1]) != "s")
            kind = kind_of(text[start])
            end = start
            while end < len(text) and kind_of(text[end]) == kind:
                end += 1
            if kind == "s" and end < len(text) and end - at > 1:
                end -= 1
        yield text[at:end]
        at = end


def merge_once(word, pair):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def encode(text, ranks, ids, names):
    out = []
    for piece in pieces_of(text):
        word = [names[byte] for byte in piece.encode("utf-8")]
        while len(word) > 1:
            pair = min(zip(word, word[1:]), key=lambda p: ranks.get(p, 1 << 30))
            if pair not in ranks:
                break
            word = merge_once(word, pair)
        out += [ids[part] for part in word]
    return out


TRAINING = """The robot's gripper can't reach the cup, so we'll turn left and walk to the door. It's 12 metres.
They've seen 2048 frames; don't stop. I'm sure you'd look around twice and jump right thrice after walk.
Zürich über café naïve Ελληνικά русский язык 日本語 한국어 العربية ١٢٣ ½ 😀😀 👩‍🔬 the the the and and  walk  walk   turn
"""
TEXTS = ["", " ", "   ", "the robot", " the  robot ", "It's, can't; we'll they've I'm you'd THE'S", "walk\n\n\nturn\t\tleft \n x",
         "12 metres, 2048frames a1b2 ½x ١٢٣", "Zürich über café naïve", "Ελληνικά русский язык 日本語 한국어 العربية",
         "😀😀 👩‍🔬!", "a\u00a0b\u3000c\u2028d \u2009 e", "!!! ... ?'s 's' ''s '", "x" * 300 + " " * 40 + "y",
         "aaaaaaa abababab the thethe", "<|end|> is text", "\x00\x01\x7f tab\tend "]


def learn(names, count):
    words = [[names[byte] for byte in piece.encode("utf-8")] for piece in pieces_of(TRAINING)]
    merges = []
    for _ in range(count):
        seen = {}
        for word in words:
            for pair in zip(word, word[1:]):
                seen[pair] = seen.get(pair, 0) + 1
        best = max(seen, key=lambda p: (seen[p], p))
        merges.append(best)
        words = [merge_once(word, best) for word in words]
    return merges


def bpe():
    """bpe.golden: u32 count, then for each text u32 bytes, the bytes, u32 ids, the ids."""
    names = byte_alphabet()
    for name, reverse in (("bpe", False), ("bpe_reversed", True)):
        merges = learn(names, 160)
        tokens = [names[byte] for byte in range(256)]
        tokens += [left + right for left, right in merges] + ["<|end|>"]
        tokens = list(dict.fromkeys(tokens))
        if reverse:   # a table out of order: products before their parts
            merges = merges[::-1]
        ids = {token: i for i, token in enumerate(tokens)}
        ranks = {pair: i for i, pair in enumerate(merges)}
        extra = [("tokenizer.ggml.model", "string", "gpt2"), ("tokenizer.ggml.tokens", "[string]", tokens),
                 ("tokenizer.ggml.merges", "[string]", [f"{left} {right}" for left, right in merges]),
                 ("tokenizer.ggml.token_type", "[i32]", [1] * (len(tokens) - 1) + [3]),
                 ("tokenizer.ggml.eos_token_id", "u32", len(tokens) - 1)]
        config = models.Config(architecture="gpt2", width=8, feed_forward=8, layers=1, heads=2,
                               context=32, vocabulary=len(tokens) + 3, extra=extra)
        make_model(name, config, 300, "F16")
        out = struct.pack("<I", len(TEXTS))
        for text in TEXTS:
            data, found = text.encode("utf-8"), encode(text, ranks, ids, names)
            out += struct.pack("<I", len(data)) + data
            out += struct.pack(f"<I{len(found)}I", len(found), *found)
        (DATA / f"{name}.golden").write_bytes(out)


def main():
    DATA.mkdir(exist_ok=True)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for make in (decoders, encoders, vits, pictures, bpe):
        make()
    total = sum(path.stat().st_size for path in DATA.iterdir())
    print(f"{len(list(DATA.iterdir()))} files, {total} bytes")


if __name__ == "__main__":
    main()
