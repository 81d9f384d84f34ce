"""Reads ambit-desk.gguf back into model.Model, for evaluation and reference.

Only what export_gguf.py writes: GGUF v3, F16 and F32 tensors.
"""

import struct

import numpy as np
import torch

from model import Config, Model

SIMPLE = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}


class Reader:
    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def get(self, form):
        (v,) = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return v

    def string(self):
        n = self.get("<Q")
        self.at += n
        return self.raw[self.at - n : self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            item, n = self.get("<I"), self.get("<Q")
            return [self.value(item) for _ in range(n)]
        return self.get(SIMPLE[kind])


def load(path):
    """The model in fp32 and the metadata."""
    raw = open(path, "rb").read()
    r = Reader(raw)
    assert r.raw[:4] == b"GGUF"
    r.at = 4
    assert r.get("<I") == 3
    count, pairs = r.get("<Q"), r.get("<Q")
    meta = {}
    for _ in range(pairs):
        key = r.string()
        meta[key] = r.value(r.get("<I"))
    infos = []
    for _ in range(count):
        name = r.string()
        dims = [r.get("<Q") for _ in range(r.get("<I"))]
        infos.append((name, dims, r.get("<I"), r.get("<Q")))
    base = (r.at + 31) // 32 * 32
    t = {}
    for name, dims, kind, offset in infos:
        form = np.float16 if kind == 1 else np.float32
        x = np.frombuffer(raw, form, int(np.prod(dims)), base + offset).reshape(dims[::-1])
        t[name] = torch.from_numpy(x.astype(np.float32))
    g = lambda k: meta["llama." + k]
    cfg = Config(vocab=g("vocab_size"), dim=g("embedding_length"), layers=g("block_count"), heads=g("attention.head_count"),
                 hidden=g("feed_forward_length"), context=g("context_length"), rope_base=g("rope.freq_base"),
                 eps=g("attention.layer_norm_rms_epsilon"))
    state = {"embed": t["token_embd.weight"], "norm": t["output_norm.weight"]}
    for i in range(cfg.layers):
        b = lambda n: t[f"blk.{i}.{n}.weight"]
        state[f"blocks.{i}.attn_norm"], state[f"blocks.{i}.ffn_norm"] = b("attn_norm"), b("ffn_norm")
        state[f"blocks.{i}.qkv"] = torch.cat([b("attn_q"), b("attn_k"), b("attn_v")])
        state[f"blocks.{i}.out"], state[f"blocks.{i}.down"] = b("attn_output"), b("ffn_down")
        state[f"blocks.{i}.gate_up"] = torch.cat([b("ffn_gate"), b("ffn_up")])
    model = Model(cfg)
    model.load_state_dict(state)
    return model.eval(), meta
