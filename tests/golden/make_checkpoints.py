#!/usr/bin/env python3
"""Writes tests/golden/checkpoints: small files as the paper's training code and its release save them, with the outputs of the
same modules in PyTorch.

    /usr/bin/python3 tests/golden/make_checkpoints.py

Needs python3-torch; run at authoring time only. NAME.pt is the checkpoint, NAME.golden as make_golden.py has it. The modules
are written anew from the paper's description, one plain attention for each variant, so that nothing here is shared with the
converter's idea of them.
"""
import math
import pathlib
import struct

import torch
from torch import nn
from torch.nn import functional

DATA = pathlib.Path(__file__).resolve().parent / "checkpoints"
WIDTH, LAYERS, HEADS, POSITIONS, VOCABULARY = 16, 2, 4, 40, 41
HEAD = WIDTH // HEADS


def write_golden(name, kind, inputs, logits):
    form = "<u4" if kind == 0 else "<f4"
    rows = logits.reshape(-1, logits.shape[-1])
    head = b"GOLD" + struct.pack("<4I", kind, inputs.numel(), *rows.shape)
    (DATA / f"{name}.golden").write_bytes(
        head + inputs.numpy().astype(form).tobytes() + rows.numpy().astype("<f4").tobytes())


def split(x, heads):
    return x.view(*x.shape[:-1], heads, HEAD).transpose(-2, -3)


def attend(q, k, v, mask=None, extra=None):
    scores = q @ k.transpose(-1, -2) / math.sqrt(HEAD)
    if extra is not None:
        scores = extra(scores)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, float("-inf"))
    y = scores.softmax(-1) @ v
    return y.transpose(-2, -3).reshape(*y.shape[:-3], -1, WIDTH)


class LanguageAttention(nn.Module):
    """One of the eight, by the layers' names of the training code."""

    def __init__(self, variant, groups):
        super().__init__()
        self.variant, self.groups = variant, groups
        rows = groups * HEAD
        layers = {"QKV": {"c_attn": 3 * WIDTH}, "Q=K-V": {"c_kv": 2 * WIDTH},
                  "Q-K=V": {"c_q": WIDTH, "c_k": WIDTH}, "Q=K=V": {"c_k": WIDTH},
                  "GQA": {"c_q": WIDTH, "c_kv": 2 * rows}, "MQA": {"c_q": WIDTH, "c_kv": 2 * HEAD},
                  "Q-GQA": {"c_q": WIDTH, "c_k": rows}, "Q-MQA": {"c_q": WIDTH, "c_kv": HEAD}}
        for name, size in layers[variant].items():
            setattr(self, name, nn.Linear(WIDTH, size))
        self.c_proj = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("bias", torch.tril(torch.ones(POSITIONS, POSITIONS))[None, None])

    def forward(self, x):
        heads = {"MQA": 1, "Q-MQA": 1, "GQA": self.groups, "Q-GQA": self.groups}.get(self.variant, HEADS)
        if self.variant == "QKV":
            q, k, v = self.c_attn(x).split(WIDTH, dim=-1)
        elif self.variant == "Q=K-V":
            k, v = self.c_kv(x).split(WIDTH, dim=-1)
            q = k
        elif self.variant == "Q=K=V":
            q = k = v = self.c_k(x)
        elif self.variant in ("GQA", "MQA"):
            q = self.c_q(x)
            k, v = self.c_kv(x).split(heads * HEAD, dim=-1)
        else:
            q = self.c_q(x)
            k = v = self.c_kv(x) if self.variant == "Q-MQA" else self.c_k(x)
        q, k, v = split(q, HEADS), split(k, heads), split(v, heads)
        k, v = (t.repeat_interleave(HEADS // heads, dim=-3) for t in (k, v))
        count = x.shape[-2]
        return self.c_proj(attend(q, k, v, self.bias[0, 0, :count, :count]))


class LanguageMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        return self.c_proj(functional.gelu(self.c_fc(x)))


class LanguageBlock(nn.Module):
    def __init__(self, variant, groups):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(WIDTH), LanguageAttention(variant, groups)
        self.ln_2, self.mlp = nn.LayerNorm(WIDTH), LanguageMlp()

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Language(nn.Module):
    def __init__(self, variant, groups):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.h = nn.ModuleList(LanguageBlock(variant, groups) for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(WIDTH)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[-1]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


class EncoderAttention(nn.Module):
    """The release's names; `channels` of the (X)+ term, 0 for none."""

    def __init__(self, variant, channels, positions, keep_buffer=True):
        super().__init__()
        self.variant, self.channels = variant, channels
        layers = {"QKV": ("c_q", "c_k", "c_v"), "Q=K-V": ("c_qk", "c_v"), "Q-K=V": ("c_q", "c_kv"),
                  "Q=K=V": ("c_qkv",), "QVV": ("c_q1", "c_q2", "c_v")}[variant]
        for name in layers:
            setattr(self, name, nn.Linear(WIDTH, WIDTH))
        self.c_proj = nn.Linear(WIDTH, WIDTH)
        if channels:
            self.register_buffer("pos2d", position_code(positions, channels), persistent=keep_buffer)
            self.pos_w, self.pos_b = nn.Parameter(torch.randn(channels)), nn.Parameter(torch.randn(1))

    def plus(self, scores):
        count = scores.shape[-1]
        shifted = scores[..., None] + self.pos2d[:count, :count]
        return (shifted * self.pos_w).sum(-1) + self.pos_b

    def forward(self, x):
        if self.variant == "QKV":
            q, k, v = self.c_q(x), self.c_k(x), self.c_v(x)
        elif self.variant == "Q=K-V":
            q = k = self.c_qk(x)
            v = self.c_v(x)
        elif self.variant == "Q-K=V":
            q = self.c_q(x)
            k = v = self.c_kv(x)
        elif self.variant == "QVV":
            q = self.c_q2(self.c_q1(x))
            k = v = self.c_v(x)
        else:
            q = k = v = self.c_qkv(x)
        q, k, v = (split(t, HEADS) for t in (q, k, v))
        return self.c_proj(attend(q, k, v, extra=self.plus if self.channels else None))


def code(count, channels):
    """[count, channels] of sines and cosines."""
    at = torch.arange(count)[:, None].float()
    rate = torch.exp(-2 * torch.arange((channels + 1) // 2).float() * math.log(10000.0) / channels)
    out = torch.zeros(count, channels)
    out[:, 0::2] = torch.sin(at * rate)
    out[:, 1::2] = torch.cos(at * rate)[:, :channels // 2]
    return out


def position_code(count, channels):
    rows, columns = code(count, channels // 2), code(count, channels - channels // 2)
    return torch.cat((rows[:, None].expand(count, count, -1), columns[None].expand(count, count, -1)), dim=-1)


class EncoderBlock(nn.Module):
    def __init__(self, variant, channels, positions, picture, keep_buffer):
        super().__init__()
        self.ln1, self.attn = nn.LayerNorm(WIDTH), EncoderAttention(variant, channels, positions, keep_buffer)
        self.ln2 = nn.LayerNorm(WIDTH)
        middle = [nn.GELU(), nn.Dropout(0.1)] if picture else [nn.GELU()]
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), *middle, nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class Encoder(nn.Module):
    def __init__(self, variant, channels=0, keep_buffer=True):
        super().__init__()
        self.embed, self.pos_emb = nn.Linear(10, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.blocks = nn.ModuleList(EncoderBlock(variant, channels, POSITIONS, False, keep_buffer)
                                    for _ in range(LAYERS))
        self.ln_f, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, tokens):
        x = self.embed(functional.one_hot(tokens, 10).float()) + self.pos_emb(torch.arange(tokens.shape[-1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


class Patches(nn.Module):
    def __init__(self, colours):
        super().__init__()
        self.proj = nn.Conv2d(colours, WIDTH, 4, 4)

    def forward(self, pixels):
        return self.proj(pixels).flatten(-2).transpose(-1, -2)


class Vision(nn.Module):
    def __init__(self, variant, colours, channels=0):
        super().__init__()
        self.patch_embed = Patches(colours)
        self.cls, self.pos_emb = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, 17, WIDTH))
        self.blocks = nn.ModuleList(EncoderBlock(variant, channels, 17, True, True) for _ in range(LAYERS))
        self.ln_f, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, pixels):
        x = torch.cat((self.cls, self.patch_embed(pixels)), dim=1) + self.pos_emb
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x)[:, 0])


def randomize(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.5 if parameter.dim() > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


def language_models():
    cases = [("QKV", HEADS), ("Q=K-V", HEADS), ("Q-K=V", HEADS), ("Q=K=V", HEADS), ("GQA", 2), ("MQA", 1), ("Q-GQA", 2),
             ("Q-MQA", 1)]
    for seed, (variant, groups) in enumerate(cases):
        model = randomize(Language(variant, groups), seed)
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(VOCABULARY, (35,), generator=generator)
        state = model.state_dict()
        config = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "n_positions": POSITIONS, "use_bias": True}
        if seed % 2 == 0:  # as saved while training: in parallel, with the optimizer
            optimizer = torch.optim.AdamW(model.parameters())
            model(tokens).sum().backward()
            optimizer.step()
            state = {f"module.{key}": value for key, value in model.state_dict().items()}
            saved = {"step": 7, "epoch": 1, "tokens_seen": 10**10, "model_state_dict": state,
                     "optimizer_state_dict": optimizer.state_dict(), "model_config": config, "train_config": {"lr": 2e-4}}
        else:
            saved = {"step": 7, "model_state_dict": state, "val_metrics": {"loss": 1.5, "perplexity": 4.5},
                     "model_config": config}
        name = "lm_" + variant.lower().replace("=", "e").replace("-", "_")
        torch.save(saved, DATA / f"{name}.pt")
        with torch.no_grad():
            write_golden(name, 0, tokens, model(tokens))


def encoders():
    cases = [("QKV", 0, True), ("Q=K-V", 0, True), ("Q-K=V", 0, True), ("Q=K=V", 0, True), ("Q=K-V", 10, True),
             ("Q=K=V", 11, False), ("QVV", 0, True)]
    for seed, (variant, channels, keep) in enumerate(cases):
        model = randomize(Encoder(variant, channels, keep), 50 + seed)
        tokens = torch.randint(10, (30,), generator=torch.Generator().manual_seed(seed))
        name = "encoder_" + variant.lower().replace("=", "e").replace("-", "_") + ("_plus" if channels else "")
        config = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "seq_len": 30, "max_len": POSITIONS}
        torch.save({"task": "synthetic_sort", "variant": variant, "model": "Encoder", "config": config, "test_accuracy": 0.99,
                    "model_state_dict": model.state_dict()}, DATA / f"{name}.pt")
        with torch.no_grad():
            write_golden(name, 0, tokens, model(tokens))


def visions():
    cases = [("QKV", 3, 0, "vision_cifar10"), ("Q-K=V", 1, 0, "vision_mnist"), ("Q=K=V", 3, 50, "vision_cifar100"),
             ("Q=K-V", 1, 0, "vision_fmnist"), ("Q=K=V", 1, 0, "vision_mnist"), ("Q=K-V", 3, 50, "vision_cifar10")]
    for seed, (variant, colours, channels, task) in enumerate(cases):
        model = randomize(Vision(variant, colours, channels), 80 + seed)
        pixels = torch.randn((1, colours, 16, 16), generator=torch.Generator().manual_seed(seed))
        name = "vision_" + variant.lower().replace("=", "e").replace("-", "_") + ("_plus" if channels else "")
        config = {"image_size": 16, "channels": colours, "patch": 4, "n_classes": 10, "n_embd": WIDTH, "n_layer": LAYERS,
                  "n_head": HEADS}
        torch.save({"task": task, "variant": variant, "model": "ViT", "config": config, "test_accuracy": 0.7,
                    "model_state_dict": model.state_dict()}, DATA / f"{name}.pt")
        with torch.no_grad():
            write_golden(name, 1, pixels[0].permute(1, 2, 0).contiguous(), model(pixels))


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    language_models()
    encoders()
    visions()
