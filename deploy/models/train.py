#!/usr/bin/env python3
"""Trains one model of the paper's comparison and writes it as the authors' code would.

One definition holds every variant: `q_is_k` and `v_is_k` say which projections are one, `kv_heads`
how many heads the cache has, `plus` how many channels the 2D positional term (X)+ has. The names of
the layers are the ones of the paper's code, so what is written here is a checkpoint like theirs:

    train.py --task sort --variant Q-K=V --seed 1 --out sort.pt
    tandem-model convert sort.pt sort.gguf --type F32

Works with PyTorch 1.13 on a processor and with later ones on a GPU (there a step is captured once
as a CUDA graph, because such small models are otherwise all launches).

Letters: B batch, T tokens, d width, H heads, g KV heads, dk = d/H.
"""
import argparse
import dataclasses
import math
import time

import torch
from torch import nn
from torch.nn import functional

import paper_data  # also makes train/ importable
import training

# q_is_k, v_is_k, KV heads ("H": all, "g": a group, 1), (X)+
VARIANTS = {
    "QKV": (False, False, "H", False), "Q=K-V": (True, False, "H", False),
    "(Q=K-V)+": (True, False, "H", True), "Q-K=V": (False, True, "H", False),
    "Q=K=V": (True, True, "H", False), "(Q=K=V)+": (True, True, "H", True),
    "GQA": (False, False, "g", False), "MQA": (False, False, 1, False),
    "Q-GQA": (False, True, "g", False), "Q-MQA": (False, True, 1, False),
}


@dataclasses.dataclass
class Shape:
    """What decides the size of a model."""
    kind: str                  # "lm", "encoder", "vit"
    width: int
    layers: int
    heads: int
    kv_heads: int
    q_is_k: bool
    v_is_k: bool
    plus: int                  # channels of (X)+; 0: none
    positions: int
    tokens: int = 0            # lm: vocabulary; encoder: 10
    classes: int = 10
    image: int = 0             # vit: pixels a side
    channels: int = 0
    patch: int = 4
    dropout: float = 0.0


def layer_names(shape):
    """The projections as the paper's code calls them: name -> the parts its rows are, in order.
    What no layer makes is the part before it: k is q, v is k."""
    shared, grouped = (shape.q_is_k, shape.v_is_k), shape.kv_heads < shape.heads
    if shape.kind != "lm":
        return {(False, False): {"c_q": "q", "c_k": "k", "c_v": "v"}, (True, False): {"c_qk": "q", "c_v": "v"},
                (False, True): {"c_q": "q", "c_kv": "k"}, (True, True): {"c_qkv": "q"}}[shared]
    if grouped and not shape.v_is_k:
        return {"c_q": "q", "c_kv": "kv"}
    if grouped:
        return {"c_q": "q", "c_kv" if shape.kv_heads == 1 else "c_k": "k"}
    return {(False, False): {"c_attn": "qkv"}, (True, False): {"c_kv": "qv"},
            (False, True): {"c_q": "q", "c_k": "k"}, (True, True): {"c_k": "q"}}[shared]


def position_table(positions, channels):
    """P[i, j, c] of the paper: sin and cos of i in the first half of the channels, of j in the rest."""
    def axis(count):
        at = torch.arange(positions)[:, None].float()
        rate = torch.exp(-2 * torch.arange((count + 1) // 2).float() * math.log(10000.0) / count)
        return torch.stack(((at * rate).sin(), (at * rate).cos()), dim=2).flatten(1)[:, :count]

    rows, columns = axis(channels // 2), axis(channels - channels // 2)
    size = (positions, positions, -1)
    return torch.cat((rows[:, None].expand(size), columns[None].expand(size)), dim=2)


class Attention(nn.Module):
    """Any variant. Shapes: x [B, T, d] to [B, T, d]."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.names = shape, layer_names(shape)
        self.head = shape.width // shape.heads
        for name, parts in self.names.items():
            setattr(self, name, nn.Linear(shape.width, sum(self.rows(part) for part in parts)))
        self.c_proj = nn.Linear(shape.width, shape.width)
        if shape.plus:
            self.register_buffer("pos2d", position_table(shape.positions, shape.plus))
            self.pos_w = nn.Parameter(torch.randn(shape.plus) * 0.02)
            self.pos_b = nn.Parameter(torch.zeros(1))

    def rows(self, part):
        return self.head * (self.shape.heads if part == "q" else self.shape.kv_heads)

    def split(self, rows):
        """[B, T, heads*dk] to [B, H, T, dk]; a KV head serves H/g neighbouring query heads."""
        rows = rows.view(rows.shape[0], rows.shape[1], -1, self.head).transpose(1, 2)
        return rows.repeat_interleave(self.shape.heads // rows.shape[1], dim=1)

    def forward(self, x):
        found = {}
        for name, parts in self.names.items():
            rows = getattr(self, name)(x).split([self.rows(part) for part in parts], dim=2)
            found.update(zip(parts, rows))
        query = found["q"]
        key = found.get("k", query)
        query, key, value = self.split(query), self.split(key), self.split(found.get("v", key))
        scores = query @ key.transpose(2, 3) / math.sqrt(self.head)
        if self.shape.plus:
            here = self.pos2d[:x.shape[1], :x.shape[1]]
            scores = scores * self.pos_w.sum() + (here @ self.pos_w + self.pos_b)
        if self.shape.kind == "lm":
            future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(future, -math.inf)
        return self.c_proj((scores.softmax(3) @ value).transpose(1, 2).flatten(2))


class LanguageMlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(functional.gelu(self.c_fc(x)))


class Block(nn.Module):
    """x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, shape):
        super().__init__()
        width, lm = shape.width, shape.kind == "lm"
        self.names = ("ln_1", "ln_2") if lm else ("ln1", "ln2")
        for name in self.names:
            setattr(self, name, nn.LayerNorm(width))
        self.attn = Attention(shape)
        self.drop = nn.Dropout(shape.dropout)
        if lm:
            self.mlp = LanguageMlp(width)
        else:
            middle = [nn.GELU()] + ([nn.Dropout(shape.dropout)] if shape.kind == "vit" else [])
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), *middle, nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.drop(self.attn(getattr(self, self.names[0])(x)))
        return x + self.drop(self.mlp(getattr(self, self.names[1])(x)))


class Patches(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.proj = nn.Conv2d(shape.channels, shape.width, shape.patch, shape.patch)

    def forward(self, pixels):
        return self.proj(pixels).flatten(2).transpose(1, 2)


class Transformer(nn.Module):
    """tokens [B, T] to [B, T, V] ("lm") or [B, T, C] ("encoder"); pixels [B, channels, n, n] to
    [B, C] ("vit")."""

    def __init__(self, shape):
        super().__init__()
        self.shape, width = shape, shape.width
        if shape.kind == "lm":
            self.wte, self.wpe = nn.Embedding(shape.tokens, width), nn.Embedding(shape.positions, width)
            self.h = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        else:
            self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
            self.head = nn.Linear(width, shape.classes)
        if shape.kind == "encoder":
            self.embed, self.pos_emb = nn.Linear(shape.tokens, width), nn.Embedding(shape.positions, width)
        if shape.kind == "vit":
            self.patch_embed = Patches(shape)
            self.cls = nn.Parameter(torch.zeros(1, 1, width))
            self.pos_emb = nn.Parameter(torch.randn(1, shape.positions, width) * 0.02)
        self.ln_f = nn.LayerNorm(width)
        self.drop = nn.Dropout(shape.dropout if shape.kind == "vit" else 0.0)
        if shape.kind == "lm":
            self.apply(initialize)

    def forward(self, x):
        kind = self.shape.kind
        if kind == "vit":
            patches = self.patch_embed(x)
            x = torch.cat((self.cls.expand(len(x), -1, -1), patches), dim=1) + self.pos_emb
            x = self.drop(x)
        elif kind == "encoder":
            # one-hot times a matrix is one of its columns
            x = self.embed.weight.T[x] + self.embed.bias + self.pos_emb.weight[:x.shape[1]]
        else:
            x = self.wte(x) + self.wpe.weight[:x.shape[1]]
        for block in (self.h if kind == "lm" else self.blocks):
            x = block(x)
        x = self.ln_f(x)
        if kind == "lm":
            return x @ self.wte.weight.T
        return self.head(x[:, 0] if kind == "vit" else x)


def initialize(module):
    """The paper's language models: N(0, 0.02) and zero biases."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


# ---- profiles: what is trained, how long ----

@dataclasses.dataclass
class Recipe:
    epochs: int
    rate: float
    batch: int = 128
    decay: float = 0.0         # AdamW
    clip: float = 0.0
    schedule: str = "cosine"   # or "steps": a tenth after half, and after three quarters


def shape_of(task, variant, profile):
    q_is_k, v_is_k, heads_kv, plus = VARIANTS[variant]
    full = profile == "full"
    shape = {"layers": 2, "heads": 4, "width": 256 if full else 64, "q_is_k": q_is_k, "v_is_k": v_is_k}
    if task == paper_data.LANGUAGE:
        shape.update(kind="lm", tokens=512, heads=16 if full else 8, dropout=0.1, positions=256 if full else 128)
        shape["layers"] = 6 if full else 2
    elif task in paper_data.VISION:
        channels = len(paper_data.VISION[task][0])
        size = 28 if task == "mnist" else 32
        shape.update(kind="vit", image=size, channels=channels, positions=(size // 4) ** 2 + 1, dropout=0.1)
    else:
        shape.update(kind="encoder", tokens=10, positions=128)
    heads = shape["heads"]
    shape["kv_heads"] = {"H": heads, "g": heads // 4, 1: 1}[heads_kv]
    shape["plus"] = 0 if not plus else 50 if shape["kind"] == "vit" else 10
    return Shape(**shape)


def recipe_of(task, profile):
    full = profile == "full"
    if task == paper_data.LANGUAGE:
        return Recipe(epochs=12 if full else 6, rate=1e-3 if full else 2e-3, batch=64 if full else 32, decay=0.1, clip=1.0)
    if task in paper_data.VISION:
        return Recipe(epochs={"mnist": 20, "cifar10": 40}[task] if full else {"mnist": 5, "cifar10": 10}[task], rate=1e-3,
                      schedule="steps")
    return Recipe(epochs=10 if full else 4, rate=1e-3 if full else 3e-3, clip=5.0)


# ---- training ----

class Feed:
    """The data on the device, and what one step sees: `index` [B] chooses rows, or places in a text."""

    def __init__(self, task, shape, data, device):
        self.shape, self.x, self.y = shape, data.train.to(device), data.train_truth.to(device)
        if shape.kind == "lm":
            self.rows = len(self.x) // shape.positions
            self.line = torch.arange(shape.positions + 1, device=device)
        else:
            self.rows = len(self.x)
        if shape.kind == "vit":
            mean, std = (torch.tensor(part, device=device)[:, None, None] for part in paper_data.VISION[task])
            self.mean, self.std = mean, std

    def pixels(self, x):
        return (x.float() / 255 - self.mean) / self.std

    def order(self, generator):
        """The indices of one epoch."""
        if self.shape.kind == "lm":
            last = len(self.x) - self.shape.positions - 1
            return torch.randint(last, (self.rows,), generator=generator)
        return torch.randperm(self.rows, generator=generator)

    def batch(self, index):
        if self.shape.kind == "lm":
            rows = self.x[index[:, None] + self.line]
            return rows[:, :-1], rows[:, 1:]
        x = self.x[index]
        return (self.pixels(x) if self.shape.kind == "vit" else x), self.y[index]


def rate_at(recipe, done):
    """The learning rate after the share `done` of all steps."""
    if recipe.schedule == "steps":
        return recipe.rate * (0.01 if done >= 0.75 else 0.1 if done >= 0.5 else 1)
    warm = 0.05
    if done < warm:
        return recipe.rate * (done + 1e-3) / warm
    return recipe.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (done - warm) / (1 - warm))))


class Step:
    """One optimizer step; on a GPU captured once and replayed."""

    def __init__(self, model, feed, recipe, device):
        self.model, self.feed, self.recipe, self.cuda = model, feed, recipe, device == "cuda"
        options = {"lr": recipe.rate, "betas": (0.9, 0.95 if recipe.decay else 0.999), "weight_decay": recipe.decay}
        if self.cuda:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
            options.update(lr=torch.tensor(recipe.rate, device=device), capturable=True)
        self.optimizer = (torch.optim.AdamW if recipe.decay else torch.optim.Adam)(model.parameters(), **options)
        self.index = torch.zeros(recipe.batch, dtype=torch.long, device=device)
        self.loss = torch.zeros((), device=device)
        self.graph = None
        if self.cuda:
            self.capture()

    def work(self):
        x, y = self.feed.batch(self.index)
        self.optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(self.model(x).flatten(0, -2), y.flatten())
        loss.backward()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.loss.copy_(loss.detach())

    def capture(self):
        """The warm-up steps leave no trace: weights and moments are put back."""
        kept = [p.detach().clone() for p in self.model.parameters()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.work()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.work()
        with torch.no_grad():
            for p, old in zip(self.model.parameters(), kept):
                p.copy_(old)
            for state in self.optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def run(self, index, rate):
        if not self.cuda:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.index = index
            self.work()
            return
        for group in self.optimizer.param_groups:
            group["lr"].fill_(rate)
        self.index.copy_(index)
        self.graph.replay()


def train(task, variant, profile, seed, data, device="cpu", epochs=None, say=lambda text: None):
    """A trained model, on the device, and what it cost: (model, dict)."""
    shape, recipe = shape_of(task, variant, profile), recipe_of(task, profile)
    recipe.epochs = epochs or recipe.epochs
    training.keep_memory()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(shape).to(device).train()
    feed = Feed(task, shape, data, device)
    step = Step(model, feed, recipe, device)
    steps, done, start, mean = feed.rows // recipe.batch, 0, time.time(), math.nan
    for epoch in range(recipe.epochs):
        order = feed.order(generator).to(device)
        total = torch.zeros((), device=device)
        for at in range(steps):
            step.run(order[at * recipe.batch:(at + 1) * recipe.batch], rate_at(recipe, done / (steps * recipe.epochs)))
            total += step.loss
            done += 1
        mean = total.item() / steps
        say(f"epoch {epoch + 1}/{recipe.epochs}, loss {mean:.4f}, {time.time() - start:.0f} s")
    return model.eval(), {"epochs": recipe.epochs, "examples": feed.rows, "seconds": round(time.time() - start, 1),
                   "train_loss": round(mean, 5), "device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}


@torch.no_grad()
def measure(task, model, data):
    """PyTorch's own figure on the test: accuracy, or a language model's perplexity over the second
    half of each chunk of the whole context. In single precision."""
    shape, device = model.shape, next(model.parameters()).device
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if shape.kind == "lm":
        count = len(data.test) // shape.positions
        rows = data.test[:count * shape.positions].view(count, shape.positions).to(device)
        half, total, scored = shape.positions // 2, 0.0, 0
        for part in rows.split(64):
            found = model(part).log_softmax(2)[:, half:-1]
            total -= found.gather(2, part[:, half + 1:, None]).sum().item()
            scored += found.shape[0] * found.shape[1]
        return math.exp(total / scored)
    feed = Feed(task, shape, data, device)
    x, y, right = data.test.to(device), data.test_truth.to(device), 0
    for rows, truth in zip(x.split(500), y.split(500)):
        right += (model(feed.pixels(rows) if shape.kind == "vit" else rows).argmax(-1) == truth).sum().item()
    return right / y.numel()


def checkpoint(task, variant, model, figure):
    """What the paper's code would save; `figure` is PyTorch's."""
    shape, weights = model.shape, {name: value.cpu() for name, value in model.state_dict().items()}
    if shape.kind == "lm":
        return {"step": 0, "model_state_dict": weights, "val_metrics": {"perplexity": figure, "loss": math.log(figure)},
                "model_config": {"n_layer": shape.layers, "n_head": shape.heads, "n_embd": shape.width,
                                 "n_positions": shape.positions, "use_bias": True}}
    config = {"n_embd": shape.width, "n_layer": shape.layers, "n_head": shape.heads, "variant": variant,
              "pos_dim": shape.plus or 10, "n_inner_mult": 4}
    if shape.kind == "vit":
        config.update(image_size=shape.image, channels=shape.channels, patch=shape.patch, n_classes=shape.classes, dropout=0.1)
        return {"task": "vision_" + task, "variant": variant, "model": "ViT", "config": config, "test_accuracy": figure,
                "model_state_dict": weights}
    config.update(seq_len=64, max_len=shape.positions)
    return {"task": "synthetic_" + task, "variant": variant, "model": "Encoder", "config": config, "test_accuracy": figure,
            "model_state_dict": weights}


def main():
    parser = argparse.ArgumentParser(description="Trains one model of the paper's comparison.")
    parser.add_argument("--task", required=True, choices=paper_data.TASKS)
    parser.add_argument("--variant", required=True, choices=VARIANTS)
    parser.add_argument("--profile", default="small", choices=("small", "full"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="instead of the profile's")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data", default=".", help="folder with mnist, cifar10 and text")
    parser.add_argument("--work", default="build/paper", help="folder for what is kept of the data")
    parser.add_argument("--out", required=True, help="checkpoint to write (.pt)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = paper_data.read(arguments.task, arguments.data, arguments.work)
    model, cost = train(arguments.task, arguments.variant, arguments.profile, arguments.seed, data, arguments.device,
                        arguments.epochs, lambda text: print(text, flush=True))
    figure = measure(arguments.task, model, data)
    torch.save(checkpoint(arguments.task, arguments.variant, model, figure), arguments.out)
    print(f"PyTorch's figure on the test: {figure:.4f}; {cost}")


if __name__ == "__main__":
    main()
