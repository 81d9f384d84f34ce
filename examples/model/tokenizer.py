"""Byte-level BPE with the llama-bpe pre-tokenizer; loads tokenizer.json.

No merge joins a letter or a digit to anything else, so a value is the same
token sequence in prose, in JSON, in a path and in a log line.
"""

import json
from pathlib import Path

import regex

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]
CONTROL = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}

PATTERN = regex.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = regex.compile("(" + "|".join(regex.escape(s) for s in SPECIALS) + ")")


def byte_alphabet():
    """GPT-2's map of every byte to a printable character."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + extra)
            extra += 1
    return table


ALPHABET = byte_alphabet()
REVERSE = {c: b for b, c in ALPHABET.items()}


class Tokenizer:
    """Text to ids and back."""

    def __init__(self, path=Path(__file__).parent / "tokenizer.json"):
        data = json.loads(Path(path).read_text())
        self.tokens = data["tokens"]
        self.merges = [tuple(m.split(" ")) for m in data["merges"]]
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.cache = {}
        self.eos = self.ids["<|im_end|>"]

    def pieces(self, word):
        """BPE of one pre-token."""
        parts = [ALPHABET[b] for b in word.encode()]
        while len(parts) > 1:
            best = min(range(len(parts) - 1), key=lambda i: self.rank.get((parts[i], parts[i + 1]), 1 << 30))
            if (parts[best], parts[best + 1]) not in self.rank:
                break
            # llama.cpp merges one pair at a time, leftmost first: so do we.
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        return [self.ids[p] for p in parts]

    def encode(self, text):
        out = []
        for chunk in SPECIAL.split(text):
            if chunk in self.ids and chunk in SPECIALS:
                out.append(self.ids[chunk])
                continue
            for word in PATTERN.findall(chunk):
                got = self.cache.get(word)
                if got is None:
                    got = self.cache[word] = self.pieces(word)
                out.extend(got)
        return out

    def decode(self, ids):
        raw = bytearray()
        for i in ids:
            t = self.tokens[i]
            raw += t.encode() if t in SPECIALS else bytes(REVERSE[c] for c in t)
        return raw.decode("utf-8", "replace")
