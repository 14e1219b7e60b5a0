"""The transformers of this repository in PyTorch, and their way to and from model files.

One module covers three architectures (`gpt2`, `tandem-vit`, `tandem-encoder`), the four ways to
share projections (`QKV`, `Q=K-V`, `Q-K=V`, `Q=K=V`), any number of KV heads and the 2D positional
term (X)+. The names and shapes of what is written are those of common/engine/FORMAT.md.

Letters: B batch, T tokens, d width, F feed-forward width, H query heads, g KV heads, dk = d/H,
V vocabulary, C classes, n positions.

    config = Config(architecture="gpt2", width=64, feed_forward=128, layers=2, heads=4, kv_heads=1,
                    projection="Q-K=V", context=32, vocabulary=100)
    model = Model(config)
    randomize(model, seed=1)            # or train it
    save(model, "tiny.gguf", "F16")
    model = load("tiny.gguf")           # evaluation mode, what the file holds after rounding
"""
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import gguf_writer

# Which rows the input projection has; what is missing is the one before it.
PARTS = {"QKV": "qkv", "Q=K-V": "qv", "Q-K=V": "qk", "Q=K=V": "q"}
DECODER, VIT, ENCODER = "gpt2", "tandem-vit", "tandem-encoder"


@dataclass
class Config:
    """What decides the shape of a model. Fields of other architectures are left alone."""
    architecture: str
    width: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int = 0                  # 0: as many as query heads
    projection: str = "QKV"
    epsilon: float = 1e-5
    activation: str = "gelu_erf"
    position_channels: int = 0         # channels of the (X)+ table; 0: no such term
    name: str = ""
    license: str = ""
    # gpt2 and tandem-encoder
    context: int = 0                   # n
    vocabulary: int = 0                # V
    # tandem-encoder and tandem-vit
    classes: int = 0                   # C; a vit takes it from the labels
    # tandem-vit
    image: tuple = (32, 32, 3)         # width, height, channels
    mean: tuple = (0.5, 0.5, 0.5)
    std: tuple = (0.5, 0.5, 0.5)
    stem: str = "patch"                # or conv
    patch_size: int = 4
    conv: tuple = ()                   # (channels, kernel, stride, padding, pool) a layer
    pooling: str = "cls"               # or sequence
    position_embedding: bool = True
    labels: tuple = ()
    # Further pairs of the file (tokenizer, prompt): (key, type, value), see gguf_writer.
    extra: list = field(default_factory=list)

    def __post_init__(self):
        self.kv_heads = self.kv_heads or self.heads
        self.classes = self.classes or len(self.labels)
        if self.width % self.heads or self.heads % self.kv_heads:
            raise ValueError("heads must divide width, and KV heads must divide heads")
        if self.projection.startswith("Q=K") and self.kv_heads != self.heads:
            raise ValueError("Q=K needs as many KV heads as query heads")
        if self.architecture == DECODER and self.position_channels:
            raise ValueError("the (X)+ term is for encoders")

    @property
    def head_width(self):
        return self.width // self.heads

    def kv_bytes_per_token(self):
        """Bytes of F16 KV cache a token needs over all layers; 0 for encoders."""
        if self.architecture != DECODER:
            return 0
        tensors = 1 if self.projection.endswith("K=V") else 2
        return self.layers * tensors * self.kv_heads * self.head_width * 2


def position_table(positions, channels):
    """The sinusoids of one axis, [positions, channels]: sin and cos alternate, an odd count of
    channels keeps one more sin."""
    t = torch.arange(positions, dtype=torch.float64)[:, None]
    pair = torch.arange((channels + 1) // 2, dtype=torch.float64)
    angle = t * torch.exp(-2 * pair * math.log(10000.0) / channels)
    table = torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)
    return table[:, :channels].float()


class Attention(nn.Module):
    """Attention of H query heads over g KV heads with shared or separate projections.

    (X)+ adds a fixed 2D table P[i, j, c] to the scores and mixes its channels with learned weights
    w. P is the table of i in its first half of channels and of j in the rest, so the mix is
    (sum w)·S + f(i) + g(j), and the softmax over j does not see f(i): what is left is one scale and
    one bias a key position, which is what the model file holds.
    """

    def __init__(self, config, positions):
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_width = config.head_width
        self.parts = PARTS[config.projection]
        kv_width = config.kv_heads * config.head_width
        self.rows = [config.width if part == "q" else kv_width for part in self.parts]
        self.proj = nn.Linear(config.width, sum(self.rows))
        self.out = nn.Linear(config.width, config.width)
        self.position_weight = None
        if config.position_channels:
            first = config.position_channels // 2
            self.position_weight = nn.Parameter(torch.randn(config.position_channels) * 0.02)
            self.register_buffer("key_table",
                                 position_table(positions, config.position_channels - first))
        self.scale, self.bias = None, None   # (X)+ as a model file holds it

    def position_term(self):
        """(scale, bias [n]) of (X)+."""
        if self.position_weight is None:
            return self.scale, self.bias
        key_weight = self.position_weight[-self.key_table.shape[1]:]
        return self.position_weight.sum(), self.key_table @ key_weight

    def split(self, rows, heads):
        """[B, T, heads·dk] -> [B, H, T, dk]; KV head j serves query heads j·H/g to (j+1)·H/g − 1."""
        batch, tokens, _ = rows.shape
        rows = rows.view(batch, tokens, heads, self.head_width).transpose(1, 2)
        if heads < self.heads:
            rows = rows.repeat_interleave(self.heads // heads, dim=1)
        return rows

    def forward(self, x, mask):
        """x [B, T, d]; mask [T, T] is added to the scores, or None."""
        rows = dict(zip(self.parts, self.proj(x).split(self.rows, dim=-1)))
        query = self.split(rows["q"], self.heads)
        key = self.split(rows["k"], self.kv_heads) if "k" in rows else query
        value = self.split(rows["v"], self.kv_heads) if "v" in rows else key
        scores = (query * self.head_width ** -0.5) @ key.transpose(-1, -2)
        scale, bias = self.position_term()
        if scale is not None:
            scores = scores * scale + bias[:x.shape[1]]
        if mask is not None:
            scores = scores + mask
        mixed = scores.softmax(dim=-1) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm: x += attention(norm(x)); x += mlp(norm(x)). `drop` is the chance that a picture
    skips a branch in training (stochastic depth)."""

    def __init__(self, config, positions):
        super().__init__()
        self.attn_norm = nn.LayerNorm(config.width, config.epsilon)
        self.attn = Attention(config, positions)
        self.ffn_norm = nn.LayerNorm(config.width, config.epsilon)
        self.up = nn.Linear(config.width, config.feed_forward)
        self.down = nn.Linear(config.feed_forward, config.width)
        self.approximate = "tanh" if config.activation == "gelu_tanh" else "none"
        self.drop = 0.0

    def keep(self, branch):
        if not self.training or self.drop == 0.0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop
        return branch * (kept / (1 - self.drop))

    def forward(self, x, mask):
        x = x + self.keep(self.attn(self.attn_norm(x), mask))
        hidden = functional.gelu(self.up(self.ffn_norm(x)), approximate=self.approximate)
        return x + self.keep(self.down(hidden))


class Stem(nn.Module):
    """A picture [B, channels, height, width] becomes tokens [B, T, d], row by row."""

    def __init__(self, config, batch_norm):
        super().__init__()
        channels = config.image[2]
        layers = config.conv
        if config.stem == "patch":
            layers = ((config.width, config.patch_size, config.patch_size, 0, 0),)
        self.relu = config.stem == "conv"
        self.pools = [layer[4] for layer in layers]
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for out, kernel, stride, padding, _ in layers:
            normed = batch_norm and self.relu
            self.convs.append(nn.Conv2d(channels, out, kernel, stride, padding))
            self.norms.append(nn.BatchNorm2d(out) if normed else nn.Identity())
            channels = out

    def forward(self, x):
        for conv, norm, pool in zip(self.convs, self.norms, self.pools):
            x = norm(conv(x))
            # ReLU and maximum change places freely; after the pool there is less to do.
            if pool:
                x = functional.max_pool2d(x, pool, 2, (pool - 1) // 2)
            if self.relu:
                x = functional.relu(x)
        return x.flatten(2).transpose(1, 2)

    def folded(self, index):
        """(weight, bias) of layer `index` with its batch norm folded in."""
        conv, norm = self.convs[index], self.norms[index]
        if isinstance(norm, nn.Identity):
            return conv.weight, conv.bias
        factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        bias = (conv.bias - norm.running_mean) * factor + norm.bias
        return conv.weight * factor[:, None, None, None], bias


class Model(nn.Module):
    """Any of the three architectures; see the head of this file.

    forward takes tokens [B, T] (int64) and gives logits [B, T, V] (`gpt2`) or [B, T, C]
    (`tandem-encoder`), or takes normalised pictures [B, channels, height, width] (see normalize)
    and gives logits [B, C] (`tandem-vit`).
    """

    def __init__(self, config, batch_norm=True):
        super().__init__()
        self.config = config
        if config.architecture == VIT:
            self.stem = Stem(config, batch_norm)
            positions = self._picture_tokens() + (config.pooling == "cls")
            if config.pooling == "cls":
                self.cls = nn.Parameter(torch.randn(config.width) * 0.02)
            else:
                self.seq_pool = nn.Linear(config.width, 1)
        else:
            positions = config.context
            self.token = nn.Embedding(config.vocabulary, config.width)
        if config.architecture != VIT or config.position_embedding:
            self.position = nn.Parameter(torch.randn(positions, config.width) * 0.02)
        else:
            self.position = None
        self.blocks = nn.ModuleList(Block(config, positions) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, config.epsilon)
        if config.architecture != DECODER:
            self.head = nn.Linear(config.width, config.classes)
        self.apply(_initialize)

    def _picture_tokens(self):
        """T of the stem, found by running it once."""
        width, height, channels = self.config.image
        training = self.stem.training
        self.stem.eval()
        with torch.no_grad():
            tokens = self.stem(torch.zeros(1, channels, height, width)).shape[1]
        self.stem.train(training)
        return tokens

    def normalize(self, pixels):
        """Pixels [B, channels, height, width] of 0..255 -> what forward takes."""
        mean = torch.tensor(self.config.mean)[:, None, None]
        std = torch.tensor(self.config.std)[:, None, None]
        return (pixels.float() / 255 - mean) / std

    def embed(self, x):
        """The input of the first block, [B, T, d]."""
        if self.config.architecture != VIT:
            return self.token(x) + self.position[:x.shape[1]]
        x = self.stem(x)
        if self.config.pooling == "cls":
            x = torch.cat((self.cls.expand(len(x), 1, -1).to(x.dtype), x), dim=1)
        return x.float() if self.position is None else x + self.position

    def forward(self, x):
        x = self.embed(x)
        mask = None
        if self.config.architecture == DECODER:
            size = (x.shape[1], x.shape[1])
            mask = torch.full(size, -math.inf, device=x.device).triu(1)
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x)
        if self.config.architecture == DECODER:
            return functional.linear(x, self.token.weight)
        if self.config.architecture == VIT:
            if self.config.pooling == "cls":
                x = x[:, 0]
            else:
                x = (self.seq_pool(x).softmax(dim=1) * x).sum(dim=1)
        return self.head(x)

    @torch.no_grad()
    def generate(self, prompts, stop, limit):
        """Greedy continuation of prompts of one length, [B, T]: a list of B lists of new tokens
        without `stop`, at most `limit` each and never past the context."""
        tokens, start = prompts, prompts.shape[1]
        running = torch.ones(len(prompts), dtype=torch.bool)
        for _ in range(min(limit, self.config.context - start)):
            chosen = self(tokens)[:, -1].argmax(dim=-1)
            running &= chosen != stop
            if not running.any():
                break
            tokens = torch.cat((tokens, torch.where(running, chosen, stop)[:, None]), dim=1)
        rows = [row.tolist() for row in tokens[:, start:]]
        return [row[:row.index(stop)] if stop in row else row for row in rows]


def _initialize(module):
    """The paper's start: N(0, 0.02) for matrices and embeddings, zero biases. Convolutions keep
    PyTorch's."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def randomize(model, seed, std=0.1):
    """Gives every number of a model a value that a wrong or forgotten term would change: for
    reference outputs, not for training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in list(model.named_parameters()) + list(model.named_buffers()):
            if not value.is_floating_point() or name.endswith("key_table"):
                continue
            noise = torch.randn(value.shape, generator=generator) * std
            norm = "norm" in name and not name.endswith("bias")
            scale = name.endswith("position_weight")
            value.copy_(noise.abs() + 0.5 if norm or scale else noise)


# To and from model files.


def _pairs(config):
    """The key-value pairs of a model file."""
    arch = config.architecture
    pairs = [("general.architecture", "string", arch)]
    pairs += [(f"general.{key}", "string", getattr(config, key)) for key in ("name", "license")
              if getattr(config, key)]
    for key, value in (("block_count", config.layers), ("embedding_length", config.width),
                       ("feed_forward_length", config.feed_forward),
                       ("attention.head_count", config.heads),
                       ("attention.head_count_kv", config.kv_heads)):
        pairs.append((f"{arch}.{key}", "u32", value))
    pairs.append((f"{arch}.attention.layer_norm_epsilon", "f32", config.epsilon))
    pairs.append((f"{arch}.attention.projection", "string", config.projection))
    pairs.append((f"{arch}.activation", "string", config.activation))
    if arch != DECODER:
        pairs.append((f"{arch}.attention.position_2d", "bool", config.position_channels > 0))
    if arch == VIT:
        pairs += _picture_pairs(config)
    else:
        pairs.append((f"{arch}.context_length", "u32", config.context))
    return pairs + list(config.extra)


def _picture_pairs(config):
    """The key-value pairs that only picture models have."""
    pairs = [(f"image.{key}", "u32", value)
             for key, value in zip(("width", "height", "channels"), config.image)]
    pairs += [("image.mean", "[f32]", config.mean), ("image.std", "[f32]", config.std),
              ("stem", "string", config.stem)]
    if config.stem == "patch":
        pairs.append(("patch_size", "u32", config.patch_size))
    else:
        pairs += [(f"stem.conv.{key}", "[u32]", [layer[i] for layer in config.conv])
                  for i, key in enumerate(("channels", "kernel", "stride", "padding", "pool"))]
    pairs += [("pooling", "string", config.pooling), ("labels", "[string]", config.labels)]
    return [(f"{VIT}.{key}", kind, value) for key, kind, value in pairs]


def _block_tensors(block, prefix):
    """The tensors of one block by name."""
    attn = block.attn
    tensors = {}

    def linear(name, weight, bias):
        tensors[f"{prefix}.{name}.weight"] = weight
        tensors[f"{prefix}.{name}.bias"] = bias

    linear("attn_norm", block.attn_norm.weight, block.attn_norm.bias)
    if attn.parts == "qkv":
        linear("attn_qkv", attn.proj.weight, attn.proj.bias)
    else:
        parts = zip(attn.parts, attn.proj.weight.split(attn.rows), attn.proj.bias.split(attn.rows))
        for part, weight, bias in parts:
            linear(f"attn_{part}", weight, bias)
    scale, bias = attn.position_term()
    if scale is not None:
        tensors[f"{prefix}.attn_pos.scale"] = scale.reshape(1)
        tensors[f"{prefix}.attn_pos.bias"] = bias
    linear("attn_output", attn.out.weight, attn.out.bias)
    linear("ffn_norm", block.ffn_norm.weight, block.ffn_norm.bias)
    linear("ffn_up", block.up.weight, block.up.bias)
    linear("ffn_down", block.down.weight, block.down.bias)
    return tensors


def tensors_of(model):
    """Every tensor of the model file, name -> torch tensor, batch norms folded."""
    tensors = {}
    if model.config.architecture == VIT:
        for i in range(len(model.stem.convs)):
            tensors[f"stem.{i}.weight"], tensors[f"stem.{i}.bias"] = model.stem.folded(i)
        if model.config.pooling == "cls":
            tensors["cls.weight"] = model.cls
    else:
        tensors["token_embd.weight"] = model.token.weight
    if model.position is not None:
        tensors["position_embd.weight"] = model.position
    for i, block in enumerate(model.blocks):
        tensors.update(_block_tensors(block, f"blk.{i}"))
    tensors["output_norm.weight"], tensors["output_norm.bias"] = model.norm.weight, model.norm.bias
    if hasattr(model, "seq_pool"):
        tensors["seq_pool.weight"] = model.seq_pool.weight
        tensors["seq_pool.bias"] = model.seq_pool.bias
    if model.config.architecture != DECODER:
        tensors["head.weight"], tensors["head.bias"] = model.head.weight, model.head.bias
    return tensors


def save(model, path, dtype="F32"):
    """Writes the model file; `dtype` (F32 or F16) is that of its matrices."""
    tensors = {name: value.detach().float().numpy() for name, value in tensors_of(model).items()}
    gguf_writer.write(path, _pairs(model.config), tensors, dtype)


def _config_of(values, tensors):
    """The Config that a model file describes."""
    arch = values["general.architecture"]

    def get(key, default=None):
        return values.get(f"{arch}.{key}", default)

    known = dict(
        architecture=arch, width=get("embedding_length"), feed_forward=get("feed_forward_length"),
        layers=get("block_count"), heads=get("attention.head_count"),
        kv_heads=get("attention.head_count_kv", 0), projection=get("attention.projection", "QKV"),
        epsilon=get("attention.layer_norm_epsilon"), name=values.get("general.name", ""),
        license=values.get("general.license", ""),
        activation=get("activation", "gelu_tanh" if arch == DECODER else "gelu_erf"))
    if arch != VIT:
        known.update(context=get("context_length"), vocabulary=len(tensors["token_embd.weight"]))
    if arch == ENCODER:
        known.update(classes=len(tensors["head.weight"]))
    if arch == VIT:
        layers = ()
        if get("stem") == "conv":
            keys = ("channels", "kernel", "stride", "padding", "pool")
            layers = tuple(zip(*(get(f"stem.conv.{key}") for key in keys)))
        known.update(
            image=tuple(get(f"image.{key}") for key in ("width", "height", "channels")),
            mean=tuple(get("image.mean")), std=tuple(get("image.std")), stem=get("stem"),
            patch_size=get("patch_size", 0), conv=layers, pooling=get("pooling"),
            position_embedding="position_embd.weight" in tensors, labels=tuple(get("labels")))
    return Config(**known)


def load(path):
    """A model in evaluation mode with exactly the numbers of a model file that `save` wrote.
    Tokenizer keys stay in the file: read them with gguf_writer.read."""
    values, arrays = gguf_writer.read(path)
    arrays = {name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    model = Model(_config_of(values, arrays), batch_norm=False)
    with torch.no_grad():
        for i, block in enumerate(model.blocks):
            if f"blk.{i}.attn_pos.scale" in arrays:
                block.attn.scale = arrays[f"blk.{i}.attn_pos.scale"][0]
                block.attn.bias = arrays[f"blk.{i}.attn_pos.bias"]
        for name, value in tensors_of(model).items():
            value.copy_(arrays[name])
    return model.eval()
