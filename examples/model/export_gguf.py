"""Writes a checkpoint as GGUF v3 (architecture llama), by hand.

Matrices F16, norms F32.  The embedding is tied, so output.weight is omitted.
The network was trained with interleaved RoPE pairs, which is what the llama
architecture of GGUF expects: no rows are permuted.
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import torch

from model import Config
from tokenizer import CONTROL, SPECIALS, Tokenizer

HERE = Path(__file__).parent
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5
ALIGN = 32


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, v):
    if kind == STRING:
        return string(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], v)


def array(kind, items):
    return struct.pack("<IQ", kind, len(items)) + b"".join(value(kind, v) for v in items)


def tensors(state, cfg):
    """GGUF names and fp32 arrays."""
    d, h = cfg.dim, cfg.hidden
    yield "token_embd.weight", state["embed"]
    for i in range(cfg.layers):
        get = lambda n: state[f"blocks.{i}.{n}"]
        yield f"blk.{i}.attn_norm.weight", get("attn_norm")
        for part, name in enumerate("qkv"):
            yield f"blk.{i}.attn_{name}.weight", get("qkv")[part * d : (part + 1) * d]
        yield f"blk.{i}.attn_output.weight", get("out")
        yield f"blk.{i}.ffn_norm.weight", get("ffn_norm")
        yield f"blk.{i}.ffn_gate.weight", get("gate_up")[:h]
        yield f"blk.{i}.ffn_up.weight", get("gate_up")[h:]
        yield f"blk.{i}.ffn_down.weight", get("down")
    yield "output_norm.weight", state["norm"]


def metadata(cfg, tok):
    kind = lambda t: 3 if t in CONTROL else 4 if t in SPECIALS else 1
    p = "llama."
    return [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "ambit-desk"),
        ("general.license", STRING, "Apache-2.0"),
        ("general.file_type", U32, 1),
        (p + "context_length", U32, cfg.context),
        (p + "embedding_length", U32, cfg.dim),
        (p + "block_count", U32, cfg.layers),
        (p + "feed_forward_length", U32, cfg.hidden),
        (p + "attention.head_count", U32, cfg.heads),
        (p + "attention.head_count_kv", U32, cfg.heads),
        (p + "attention.layer_norm_rms_epsilon", F32, cfg.eps),
        (p + "rope.dimension_count", U32, cfg.head_dim),
        (p + "rope.freq_base", F32, cfg.rope_base),
        (p + "vocab_size", U32, cfg.vocab),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "llama-bpe"),
        ("tokenizer.ggml.tokens", ARRAY, (STRING, tok.tokens)),
        ("tokenizer.ggml.token_type", ARRAY, (I32, [kind(t) for t in tok.tokens])),
        ("tokenizer.ggml.merges", ARRAY, (STRING, [" ".join(m) for m in tok.merges])),
        ("tokenizer.ggml.bos_token_id", U32, tok.ids["<|endoftext|>"]),
        ("tokenizer.ggml.eos_token_id", U32, tok.eos),
        ("tokenizer.ggml.padding_token_id", U32, tok.ids["<|endoftext|>"]),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, (HERE / "chat_template.jinja").read_text().rstrip("\n")),
    ]


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("checkpoint")
    ap.add_argument("--out", default=str(HERE / "ambit-desk.gguf"))
    args = ap.parse_args()
    z = torch.load(args.checkpoint, map_location="cpu")
    cfg, tok = Config(**json.loads(z["config"])), Tokenizer()
    meta = metadata(cfg, tok)
    infos, blobs, offset = [], [], 0
    named = [(n, t.float().numpy()) for n, t in tensors(z["model"], cfg)]
    for name, t in named:
        half = t.ndim == 2
        raw = np.ascontiguousarray(t.astype(np.float16 if half else np.float32)).tobytes()
        raw += b"\0" * (-len(raw) % ALIGN)
        dims = t.shape[::-1]
        infos.append(string(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", x) for x in dims)
                     + struct.pack("<IQ", 1 if half else 0, offset))
        blobs.append(raw)
        offset += len(raw)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(named), len(meta))
    for key, kind, v in meta:
        head += string(key) + struct.pack("<I", kind) + (array(*v) if kind == ARRAY else value(kind, v))
    head += b"".join(infos)
    head += b"\0" * (-len(head) % ALIGN)
    Path(args.out).write_bytes(head + b"".join(blobs))
    print(args.out, len(head) + offset, "bytes,", sum(t.size for _, t in named), "parameters")


if __name__ == "__main__":
    main()
