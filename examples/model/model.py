"""The network: a Llama-architecture decoder in plain PyTorch.

RMSNorm before each block, interleaved RoPE (pairs x[2i], x[2i+1], so that the
GGUF export needs no row permutation), causal attention, SwiGLU, tied
embeddings.  Weights live in fp32; the forward pass runs its matrix products
in the dtype given by `compute` (bf16 reaches the matrix units of recent CPUs).
"""

import json
import math
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    """Shape of the network; stored in the checkpoint and in the GGUF keys."""

    vocab: int = 1536
    dim: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 512
    context: int = 2048
    rope_base: float = 500000.0
    eps: float = 1e-5

    @property
    def head_dim(self):
        return self.dim // self.heads

    def to_json(self):
        return json.dumps(asdict(self))


def rope_tables(cfg, length):
    """Cosine and sine of every position and pair, shape [length, head_dim/2]."""
    freq = cfg.rope_base ** (-torch.arange(0, cfg.head_dim, 2).float() / cfg.head_dim)
    angle = torch.arange(length).float()[:, None] * freq[None]
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Interleaved RoPE; x is [batch, heads, time, head_dim]."""
    pairs = x.view(*x.shape[:-1], -1, 2)
    a, b = pairs[..., 0], pairs[..., 1]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).view(x.shape)


def rms_norm(x, weight, eps):
    """Root-mean-square norm, computed in fp32."""
    y = x.float()
    y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)
    return y * weight


class Block(nn.Module):
    """One layer: attention and SwiGLU, both on a normed residual stream."""

    def __init__(self, cfg):
        super().__init__()
        d, h = cfg.dim, cfg.hidden
        self.cfg = cfg
        self.attn_norm = nn.Parameter(torch.ones(d))
        self.ffn_norm = nn.Parameter(torch.ones(d))
        self.qkv = nn.Parameter(torch.randn(3 * d, d) / math.sqrt(d))
        self.out = nn.Parameter(torch.randn(d, d) / math.sqrt(d) / math.sqrt(2 * cfg.layers))
        self.gate_up = nn.Parameter(torch.randn(2 * h, d) / math.sqrt(d))
        self.down = nn.Parameter(torch.randn(d, h) / math.sqrt(h) / math.sqrt(2 * cfg.layers))

    def forward(self, x, cos, sin, mask, dtype, cache=None):
        cfg = self.cfg
        b, t, d = x.shape
        y = rms_norm(x, self.attn_norm, cfg.eps).to(dtype)
        qkv = F.linear(y, self.qkv.to(dtype)).view(b, t, 3, cfg.heads, cfg.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = rotate(q.contiguous(), cos, sin), rotate(k.contiguous(), cos, sin)
        if cache is not None:
            if cache:
                k, v = torch.cat((cache[0], k), 2), torch.cat((cache[1], v), 2)
            cache[:] = [k, v]
        s = q @ (k * (1.0 / math.sqrt(cfg.head_dim))).transpose(-1, -2)
        if mask is not None:
            s = s + mask
        y = torch.softmax(s, -1) @ v
        y = y.transpose(1, 2).reshape(b, t, d)
        x = x + F.linear(y, self.out.to(dtype))
        y = rms_norm(x, self.ffn_norm, cfg.eps).to(dtype)
        g, u = F.linear(y, self.gate_up.to(dtype)).chunk(2, -1)
        return x + F.linear(F.silu(g) * u, self.down.to(dtype))


class Model(nn.Module):
    """Token ids in, hidden states (before the head) or logits out."""

    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.embed = nn.Parameter(torch.randn(cfg.vocab, cfg.dim) * 0.02)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.norm = nn.Parameter(torch.ones(cfg.dim))

    def hidden(self, ids, dtype=torch.float32, caches=None, start=0):
        t = ids.shape[1]
        cos, sin = rope_tables(self.cfg, start + t)
        cos, sin = cos[start:].to(dtype), sin[start:].to(dtype)
        mask = None
        if t > 1:
            mask = torch.full((t, start + t), float("-inf")).triu(start + 1).to(dtype)
        x = F.embedding(ids, self.embed).to(dtype)
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, mask, dtype, None if caches is None else caches[i])
        return rms_norm(x, self.norm, self.cfg.eps)

    def forward(self, ids, dtype=torch.float32, caches=None, start=0):
        h = self.hidden(ids, dtype, caches, start)
        return F.linear(h.to(dtype), self.embed.to(dtype)).float()
