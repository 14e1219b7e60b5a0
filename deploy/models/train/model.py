"""The models of the engine in PyTorch: one block for every projection, under a decoder, a picture encoder and a token encoder.

Notation is the paper's ("Do Transformers Need Three Projections?"): QKV, Q=K-V, Q-K=V, Q=K=V, with any number of KV heads.
`Config.metadata` and each model's `tensors` give what FORMAT.md (beside the engine) puts into a GGUF file.
"""

from dataclasses import asdict, dataclass, field
from typing import List, Optional

import torch
from torch import nn
from torch.nn import functional as F

PROJECTIONS = ("QKV", "Q=K-V", "Q-K=V", "Q=K=V")


@dataclass
class Config:
    """Shape of a model. `n_context` is positions (decoder, token encoder); a picture encoder computes its own."""

    architecture: str  # gpt2, tandem-vit, tandem-encoder
    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_head_kv: int
    projection: str = "QKV"
    position_2d: bool = False  # the (X)+ term, encoders only
    activation: str = "gelu_erf"
    epsilon: float = 1e-5
    n_context: int = 0
    n_vocab: int = 0
    n_class: int = 0
    labels: List[str] = field(default_factory=list)
    image_size: int = 32
    image_channels: int = 3
    image_mean: List[float] = field(default_factory=lambda: [0.4914, 0.4822, 0.4465])
    image_std: List[float] = field(default_factory=lambda: [0.2470, 0.2435, 0.2616])
    stem: str = "conv"
    patch_size: int = 4
    stem_channels: List[int] = field(default_factory=list)
    stem_kernel: List[int] = field(default_factory=list)
    stem_stride: List[int] = field(default_factory=list)
    stem_padding: List[int] = field(default_factory=list)
    stem_pool: List[int] = field(default_factory=list)
    pooling: str = "sequence"
    dropout: float = 0.0

    def __post_init__(self):
        if self.projection not in PROJECTIONS:
            raise ValueError(f"projection {self.projection}")
        if self.q_is_k and self.n_head_kv != self.n_head:
            raise ValueError("Q=K needs as many KV heads as query heads")
        if self.n_embd % self.n_head or self.n_head % self.n_head_kv:
            raise ValueError("head counts do not divide the width")

    @property
    def q_is_k(self):
        return self.projection in ("Q=K-V", "Q=K=V")

    @property
    def v_is_k(self):
        return self.projection in ("Q-K=V", "Q=K=V")

    def metadata(self):
        """GGUF keys that describe the shape, as {key: (type, value)}."""
        a = self.architecture
        keys = {
            "general.architecture": ("str", a),
            f"{a}.block_count": ("u32", self.n_layer),
            f"{a}.embedding_length": ("u32", self.n_embd),
            f"{a}.feed_forward_length": ("u32", self.n_ff),
            f"{a}.attention.head_count": ("u32", self.n_head),
            f"{a}.attention.head_count_kv": ("u32", self.n_head_kv),
            f"{a}.attention.layer_norm_epsilon": ("f32", self.epsilon),
            f"{a}.attention.projection": ("str", self.projection),
            f"{a}.activation": ("str", self.activation),
        }
        if self.position_2d:
            keys[f"{a}.attention.position_2d"] = ("bool", True)
        if a != "tandem-vit":
            keys[f"{a}.context_length"] = ("u32", self.n_context)
        else:
            keys.update(self._picture_metadata(a))
        return keys

    def _picture_metadata(self, a):
        keys = {
            f"{a}.image.width": ("u32", self.image_size),
            f"{a}.image.height": ("u32", self.image_size),
            f"{a}.image.channels": ("u32", self.image_channels),
            f"{a}.image.mean": ("f32[]", self.image_mean),
            f"{a}.image.std": ("f32[]", self.image_std),
            f"{a}.stem": ("str", self.stem),
            f"{a}.pooling": ("str", self.pooling),
            f"{a}.labels": ("str[]", self.labels),
        }
        if self.stem == "patch":
            keys[f"{a}.patch_size"] = ("u32", self.patch_size)
        else:
            for name in ("channels", "kernel", "stride", "padding", "pool"):
                keys[f"{a}.stem.conv.{name}"] = ("u32[]", getattr(self, f"stem_{name}"))
        return keys

    def as_dict(self):
        return asdict(self)


class Attention(nn.Module):
    """Queries of H heads against g KV heads; a projection that is shared exists once, under the first name it plays."""

    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.head_dim = c.n_embd // c.n_head
        self.q = nn.Linear(c.n_embd, c.n_embd)
        self.k = None if c.q_is_k else nn.Linear(c.n_embd, c.n_head_kv * self.head_dim)
        self.v = None if c.v_is_k else nn.Linear(c.n_embd, c.n_head_kv * self.head_dim)
        self.output = nn.Linear(c.n_embd, c.n_embd)

    def _heads(self, rows, count):
        """[B, T, count*dk] to [B, H, T, dk], KV heads repeated for their query heads."""
        b, t, _ = rows.shape
        heads = rows.view(b, t, count, self.head_dim).transpose(1, 2)
        return heads.repeat_interleave(self.c.n_head // count, dim=1)

    def forward(self, x, causal, pos=None):
        c = self.c
        q_rows = self.q(x)
        k_rows = q_rows if self.k is None else self.k(x)
        q = self._heads(q_rows, c.n_head)
        k = self._heads(k_rows, c.n_head_kv)
        v = k if self.v is None else self._heads(self.v(x), c.n_head_kv)
        scores = q @ k.transpose(-1, -2) / self.head_dim**0.5
        t = x.shape[1]
        if pos is not None:
            scores = scores * pos.scale + pos.bias[:t]
        if causal:
            mask = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(mask, float("-inf"))
        mixed = (scores.float().softmax(-1).to(v.dtype) @ v).transpose(1, 2).reshape(x.shape)
        return self.output(mixed)


class Position2d(nn.Module):
    """The (X)+ term as it acts at run time: one scale of the scores and one bias per key position (softmax removes the rest)."""

    def __init__(self, n):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(n))


class Block(nn.Module):
    """Pre-norm: x += attention(norm(x)); x += mlp(norm(x))."""

    def __init__(self, c: Config, n_positions):
        super().__init__()
        self.erf = "none" if c.activation == "gelu_erf" else "tanh"
        self.attn_norm = nn.LayerNorm(c.n_embd, eps=c.epsilon)
        self.attn = Attention(c)
        self.pos = Position2d(n_positions) if c.position_2d else None
        self.ffn_norm = nn.LayerNorm(c.n_embd, eps=c.epsilon)
        self.up = nn.Linear(c.n_embd, c.n_ff)
        self.down = nn.Linear(c.n_ff, c.n_embd)
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x, causal):
        x = x + self.drop(self.attn(self.attn_norm(x), causal, self.pos))
        return x + self.drop(self.down(F.gelu(self.up(self.ffn_norm(x)), approximate=self.erf)))

    def tensors(self, prefix):
        """GGUF names to tensors in PyTorch's [out, in] order."""
        parts = {"attn_norm": self.attn_norm, "ffn_norm": self.ffn_norm, "attn_output": self.attn.output, "ffn_up": self.up,
                 "ffn_down": self.down}
        out = {}
        a = self.attn
        if a.k is not None and a.v is not None:
            out[f"{prefix}.attn_qkv.weight"] = torch.cat([a.q.weight, a.k.weight, a.v.weight])
            out[f"{prefix}.attn_qkv.bias"] = torch.cat([a.q.bias, a.k.bias, a.v.bias])
        else:
            parts.update({f"attn_{n}": m for n, m in (("q", a.q), ("k", a.k), ("v", a.v)) if m is not None})
        for name, module in parts.items():
            out[f"{prefix}.{name}.weight"] = module.weight
            out[f"{prefix}.{name}.bias"] = module.bias
        if self.pos is not None:
            out[f"{prefix}.attn_pos.scale"] = self.pos.scale
            out[f"{prefix}.attn_pos.bias"] = self.pos.bias
        return out


class Trunk(nn.Module):
    """Blocks and the last norm, shared by the three architectures."""

    def __init__(self, c: Config, n_positions, causal):
        super().__init__()
        self.causal = causal
        self.blocks = nn.ModuleList(Block(c, n_positions) for _ in range(c.n_layer))
        self.norm = nn.LayerNorm(c.n_embd, eps=c.epsilon)

    def forward(self, x):
        for block in self.blocks:
            x = block(x, self.causal)
        return self.norm(x)

    def tensors(self):
        out = {}
        for i, block in enumerate(self.blocks):
            out.update(block.tensors(f"blk.{i}"))
        out["output_norm.weight"] = self.norm.weight
        out["output_norm.bias"] = self.norm.bias
        return out


def init_weights(module):
    """N(0, 0.02) for linears and embeddings, zero biases; convolutions keep PyTorch's own."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class Decoder(nn.Module):
    """`gpt2`: learned positions, tied head. Token ids [B, T] to logits [B, T, V]."""

    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.token = nn.Embedding(c.n_vocab, c.n_embd)
        self.position = nn.Embedding(c.n_context, c.n_embd)
        self.trunk = Trunk(c, c.n_context, causal=True)
        self.apply(init_weights)

    def forward(self, ids):
        x = self.token(ids) + self.position.weight[: ids.shape[1]]
        return F.linear(self.trunk(x), self.token.weight)

    def tensors(self):
        return {"token_embd.weight": self.token.weight, "position_embd.weight": self.position.weight, **self.trunk.tensors()}


class TokenEncoder(nn.Module):
    """`tandem-encoder`: token ids [B, T] to one row of logits per token [B, T, C], no mask."""

    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.token = nn.Embedding(c.n_vocab, c.n_embd)
        self.position = nn.Embedding(c.n_context, c.n_embd)
        self.trunk = Trunk(c, c.n_context, causal=False)
        self.head = nn.Linear(c.n_embd, c.n_class)
        self.apply(init_weights)

    def forward(self, ids):
        return self.head(self.trunk(self.token(ids) + self.position.weight[: ids.shape[1]]))

    def tensors(self):
        return {"token_embd.weight": self.token.weight, "position_embd.weight": self.position.weight, **self.trunk.tensors(),
                "head.weight": self.head.weight, "head.bias": self.head.bias}


class StemLayer(nn.Module):
    """Convolution, batch norm (training only: folded into the convolution when written), ReLU, optional max pool of stride 2."""

    def __init__(self, n_in, n_out, kernel, stride, padding, pool):
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, padding)
        self.norm = nn.BatchNorm2d(n_out)
        self.pool = nn.MaxPool2d(pool, 2, (pool - 1) // 2) if pool else nn.Identity()

    def forward(self, x):
        return self.pool(F.relu(self.norm(self.conv(x))))

    def folded(self):
        scale = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        weight = self.conv.weight * scale[:, None, None, None]
        return weight, (self.conv.bias - self.norm.running_mean) * scale + self.norm.bias


class PictureEncoder(nn.Module):
    """`tandem-vit`: normalised pictures [B, channels, h, w] to class logits [B, C]."""

    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        if c.stem == "patch":
            self.stem = nn.Conv2d(c.image_channels, c.n_embd, c.patch_size, c.patch_size)
        else:
            widths = [c.image_channels] + c.stem_channels
            self.stem = nn.Sequential(*[
                StemLayer(widths[i], widths[i + 1], c.stem_kernel[i], c.stem_stride[i], c.stem_padding[i], c.stem_pool[i])
                for i in range(len(c.stem_channels))])
        with torch.no_grad():
            self.stem.eval()
            probe = self.stem(torch.zeros(1, c.image_channels, c.image_size, c.image_size))
            self.stem.train()
        n_tokens = probe.shape[2] * probe.shape[3] + (c.pooling == "cls")
        self.position = nn.Parameter(torch.zeros(n_tokens, c.n_embd))
        nn.init.normal_(self.position, 0.0, 0.02)
        self.cls = nn.Parameter(torch.zeros(c.n_embd)) if c.pooling == "cls" else None
        self.pool = nn.Linear(c.n_embd, 1) if c.pooling == "sequence" else None
        self.trunk = Trunk(c, n_tokens, causal=False)
        self.head = nn.Linear(c.n_embd, c.n_class)
        self.apply(init_weights)

    def forward(self, x):
        x = self.stem(x).flatten(2).transpose(1, 2)
        if self.cls is not None:
            x = torch.cat([self.cls.expand(x.shape[0], 1, -1), x], dim=1)
        x = self.trunk(x + self.position)
        if self.pool is not None:
            weight = self.pool(x).float().softmax(dim=1).to(x.dtype)
            return self.head((weight * x).sum(dim=1))
        return self.head(x[:, 0])

    def tensors(self):
        out = {}
        if self.c.stem == "patch":
            out["stem.0.weight"], out["stem.0.bias"] = self.stem.weight, self.stem.bias
        else:
            for i, layer in enumerate(self.stem):
                out[f"stem.{i}.weight"], out[f"stem.{i}.bias"] = layer.folded()
        out["position_embd.weight"] = self.position
        if self.cls is not None:
            out["cls.weight"] = self.cls
        if self.pool is not None:
            out["seq_pool.weight"], out["seq_pool.bias"] = self.pool.weight, self.pool.bias
        out.update(self.trunk.tensors())
        out["head.weight"], out["head.bias"] = self.head.weight, self.head.bias
        return out


def build(c: Config) -> nn.Module:
    """The model of a configuration."""
    return {"gpt2": Decoder, "tandem-vit": PictureEncoder, "tandem-encoder": TokenEncoder}[c.architecture](c)


def kv_bytes_per_token(c: Config, element_bytes: int = 2) -> Optional[int]:
    """What one token takes in the cache; None for encoders, which have none."""
    if c.architecture != "gpt2":
        return None
    return (1 if c.v_is_k else 2) * c.n_layer * c.n_head_kv * (c.n_embd // c.n_head) * element_bytes
