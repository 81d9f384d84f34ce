"""Writes the training shards (data/train-NNN.npz) and the held-out dialogues.

Every shard has its own seed, so shards can be made in any order and again.
The first shards are easier (the curriculum): few tools, short results.
A shard holds `tokens` (all dialogues end to end), `roles` (1 on tokens that
the assistant writes) and `starts` (where each dialogue begins).
"""

import argparse
import random
from pathlib import Path

import numpy as np

from dialogues import Level, Maker
from render import render
from tokenizer import Tokenizer

HERE = Path(__file__).parent
EASY = Level(max_tools=3, max_steps=2, long_results=0.0, fail=0.06, note=0.03, desk=0.25, report=0.3, reference=0.6, turns=(2, 3, 4, 5, 6))
MIDDLE = Level(max_tools=5, max_steps=4, long_results=0.03, fail=0.1, note=0.06, desk=0.3, report=0.55, reference=0.6, turns=(2, 3, 4, 5))
LIMIT = 2000


def level_of(shard):
    return EASY if shard < 1 else MIDDLE if shard < 2 else Level()


def roles(ids, tok):
    """1 on the tokens of assistant turns, up to and including <|im_end|>."""
    head = tok.encode("<|im_start|>assistant\n")
    out, inside, i = np.zeros(len(ids), np.uint8), False, 0
    while i < len(ids):
        if not inside and ids[i : i + 3] == head[:3] and len(head) == 3:
            inside = True
            i += 3
            continue
        if inside:
            out[i] = 1
            inside = ids[i] != tok.eos
        i += 1
    return out


def copy_drill(rng, maker):
    """Values listed once and listed again: practice for copying."""
    values = [str(maker.value(rng, "any")) for _ in range(rng.randint(3, 12))]
    again = values[:]
    if rng.random() < 0.5:
        rng.shuffle(again)
    return [{"role": "user", "content": ", ".join(values)}, {"role": "assistant", "content": ", ".join(again)}]


def make(split, seed, count, level, tok, drills=0.0, tool_count=None):
    """Token arrays of `count` dialogues."""
    rng, maker = random.Random(seed), Maker(split, level)
    tokens, marks, starts = [], [], [0]
    while len(starts) <= count:
        if rng.random() < drills:
            text = render(copy_drill(rng, maker))
        else:
            messages, tools, _ = maker.dialogue(rng, tool_count)
            text = render(messages, [t.spec() for t in tools])
        ids = tok.encode(text.rstrip("\n"))
        if len(ids) > LIMIT:
            continue
        tokens.extend(ids)
        marks.append(roles(ids, tok))
        starts.append(len(tokens))
    return dict(tokens=np.array(tokens, np.uint16), roles=np.concatenate(marks), starts=np.array(starts, np.int64))


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--first", type=int, default=0)
    ap.add_argument("--last", type=int, default=15)
    ap.add_argument("--count", type=int, default=800, help="dialogues in a shard")
    args = ap.parse_args()
    tok = Tokenizer()
    (HERE / "data").mkdir(exist_ok=True)
    held = HERE / "data" / "held.npz"
    if not held.exists():
        np.savez(held, **make("held", 77, 300, Level(), tok, tool_count=4))
    for shard in range(args.first, args.last + 1):
        drills = 0.02
        data = make("train", 1000 + shard, args.count, level_of(shard), tok, drills)
        np.savez(HERE / "data" / f"train-{shard:03d}.npz", **data)
        print(f"shard {shard}: {len(data['tokens'])} tokens", flush=True)


if __name__ == "__main__":
    main()
