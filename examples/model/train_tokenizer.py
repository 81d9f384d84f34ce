"""Trains the BPE on training dialogues and writes tokenizer.json.

Order of merges: digit pairs (all hundred), a fixed list of JSON punctuation,
then learned merges of letters with letters.
"""

import collections
import json
import random
from pathlib import Path

from dialogues import Maker
from render import render
from tokenizer import ALPHABET, PATTERN, SPECIAL, SPECIALS

VOCAB = 1536
SPACE, NEWLINE = ALPHABET[32], ALPHABET[10]
PUNCTUATION = [
    ('"', ":"), ('"', ","), ('"', "}"), ("{", '"'), (SPACE, '"'), (SPACE, '{"'), ("}", "}"), ('"}', "}"),
    ('"}}', NEWLINE), ("}}", NEWLINE), (".", NEWLINE), (")", ":"), ("_", "_"), (SPACE, "="), (SPACE, "-"), (SPACE, "("), (SPACE, "{"), (")", "."),
]


def learn(words, count, taken):
    """Plain BPE over a word histogram of letter runs."""
    parts = {w: list(w) for w in words}
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for w, n in words.items():
        for a, b in zip(parts[w], parts[w][1:]):
            pairs[a, b] += n
            where[a, b].add(w)
    merges = []
    while len(merges) < count:
        best = max(pairs, key=lambda p: (pairs[p], p))
        joined = best[0] + best[1]
        for w in list(where[best]):
            p, n = parts[w], words[w]
            for a, b in zip(p, p[1:]):
                pairs[a, b] -= n
            out, i = [], 0
            while i < len(p):
                if i + 1 < len(p) and (p[i], p[i + 1]) == best:
                    out.append(joined)
                    i += 2
                else:
                    out.append(p[i])
                    i += 1
            parts[w] = out
            for a, b in zip(out, out[1:]):
                pairs[a, b] += n
                where[a, b].add(w)
        del pairs[best]
        if joined not in taken:
            taken.add(joined)
            merges.append(best)
    return merges


def main():
    rng, maker = random.Random(11), Maker("train")
    words = collections.Counter()
    for _ in range(6000):
        messages, tools, _ = maker.dialogue(rng)
        for chunk in SPECIAL.split(render(messages, [t.spec() for t in tools])):
            for word in PATTERN.findall(chunk):
                letters = word.lstrip("".join(c for c in word if not c.isalpha()))
                if letters.isascii() and letters.isalpha():
                    words[letters] += 1
    merges = [(a, b) for a in "0123456789" for b in "0123456789"] + PUNCTUATION
    tokens = SPECIALS + [ALPHABET[b] for b in range(256)]
    room = VOCAB - len(tokens) - len(merges)
    merges += learn(words, room, set())
    tokens += [a + b for a, b in merges]
    assert len(tokens) == len(set(tokens)) == VOCAB
    data = {"tokens": tokens, "merges": [a + " " + b for a, b in merges]}
    (Path(__file__).parent / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    main()
