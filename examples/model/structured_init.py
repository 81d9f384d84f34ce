"""Start weights that already contain the copying circuit of a transformer.

Random start weights need millions of tokens before "induction" forms: find an
earlier occurrence of the current tokens and continue as it went on there.  One
CPU core cannot afford that, so the circuit is written into the start weights
by hand; nothing else is, and training is free to change all of it:

* block 0: heads 0-1 attend one token back, heads 2-3 two tokens back; each
  pair writes what it saw into a part of the residual stream of its own;
* blocks 1-3, heads 0-1: attend to places where the two tokens before equal
  the two current ones (on slow RoPE pairs, which distance hardly turns), and
  add what stands there;
* last block, heads 0-1: attend to the token itself and subtract it, since
  with tied embeddings it would otherwise predict itself.
"""

import math

import torch

WIDTH, CONST = 80, 255
CONTENT, BEFORE, BEFORE2 = 0, WIDTH, 2 * WIDTH
HALF = WIDTH // 2


@torch.no_grad()
def apply(model, scale=0.06, seed=3, position=1.3, match=3.2, add=3.0, subtract=0.7, layers=(1,)):
    cfg = model.cfg
    gen = torch.Generator().manual_seed(seed)
    d, hd = cfg.dim, cfg.head_dim
    freq = cfg.rope_base ** (-torch.arange(0, hd, 2).float() / hd)
    embed = torch.randn(cfg.vocab, d, generator=gen) * scale * 0.05
    embed[:, :WIDTH] = torch.randn(cfg.vocab, WIDTH, generator=gen) * scale
    embed[:, CONST] = 4 * scale
    model.embed.copy_(embed)
    for b in model.blocks:
        b.out.zero_()
        b.down.zero_()

    def parts(block, head):
        w = block.qkv
        rows = lambda m: w[m * d + head * hd : m * d + (head + 1) * hd]
        return rows(0), rows(1), rows(2), block.out[:, head * hd : (head + 1) * hd]

    def by_offset(q, k, offset):
        """Attend `offset` tokens back, whatever the tokens are."""
        q.zero_(), k.zero_()
        for j in range(14):
            q[2 * j, CONST] = position * math.cos(offset * freq[j])
            q[2 * j + 1, CONST] = -position * math.sin(offset * freq[j])
            k[2 * j, CONST] = position

    def copy(v, o, half, target, gain):
        v.zero_(), o.zero_()
        for i in range(HALF):
            v[i, half * HALF + i] = 1
            o[target + half * HALF + i, i] = gain

    unit = scale * 0.85  # undoes the norm of an embedding
    slow = 2 * int((freq > 1 / 400).sum())
    for half in (0, 1):
        for head, offset, target in ((half, 1, BEFORE), (2 + half, 2, BEFORE2)):
            q, k, v, o = parts(model.blocks[0], head)
            by_offset(q, k, offset)
            copy(v, o, half, target, unit)
        for layer in layers:
            q, k, v, o = parts(model.blocks[layer], half)
            q.zero_(), k.zero_()
            project = torch.randn(hd - slow, 2 * WIDTH, generator=gen) / math.sqrt(2 * WIDTH)
            q[slow:, CONTENT : BEFORE2] = project * match
            k[slow:, BEFORE : BEFORE + 2 * WIDTH] = project * match
            copy(v, o, half, CONTENT, scale * add)
        q, k, v, o = parts(model.blocks[-1], half)
        by_offset(q, k, 0)
        copy(v, o, half, CONTENT, -scale * subtract)
