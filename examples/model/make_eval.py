"""Writes eval.jsonl: held-out cases, four tools offered each.

A case is one assistant turn: the messages before it, the tools, and the call
that is right (or null where a text is right).  Tool names, argument names and
values come from the held-out word split.  With --check N the script makes the
dialogues of the first N training shards again and leaves out every case whose
tool names, argument names or string arguments occur there as such.
"""

import argparse
import json
import random
from pathlib import Path

from dialogues import Maker
from make_data import copy_drill, level_of
from render import render
from tokenizer import Tokenizer

HERE = Path(__file__).parent
WANT = {"first_call": 150, "next_call": 170, "tool_failed": 50, "note": 30, "no_tool": 30, "final": 50}


def names_and_values(messages, specs):
    """Every tool name, argument name and string argument of a dialogue."""
    for s in specs:
        yield s["function"]["name"]
        yield from s["function"]["parameters"]["properties"]
    for m in messages:
        for c in m.get("tool_calls") or []:
            yield from (v for v in c["function"]["arguments"].values() if isinstance(v, str))


def seen_in_training(shards, count):
    seen = set()
    for shard in range(shards):
        rng, maker = random.Random(1000 + shard), Maker("train", level_of(shard))
        drills = 0.02
        for _ in range(count + count // 10):
            if rng.random() < drills:
                copy_drill(rng, maker)
                continue
            messages, tools, _ = maker.dialogue(rng)
            seen.update(names_and_values(messages, [t.spec() for t in tools]))
    return seen


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--check", type=int, default=0)
    args = ap.parse_args()
    seen = seen_in_training(args.check, 1000)
    rng, maker, tok = random.Random(4242), Maker("held"), Tokenizer()
    left, cases, dropped = dict(WANT), [], 0
    while any(left.values()):
        messages, tools, kinds = maker.dialogue(rng, 4)
        specs = [t.spec() for t in tools]
        if len(specs) != 4 or len(tok.encode(render(messages, specs))) > 1900:
            continue
        options = [i for i, k in kinds.items() if left.get(k)]
        if not options:
            continue
        i = max(options, key=lambda i: (left[kinds[i]] / WANT[kinds[i]], rng.random()))
        if seen & set(names_and_values(messages[: i + 1], specs)):
            dropped += 1
            continue
        call = messages[i].get("tool_calls")
        expected = {"name": call[0]["function"]["name"], "arguments": call[0]["function"]["arguments"]} if call else None
        left[kinds[i]] -= 1
        cases.append({"id": f"held-{len(cases):03d}", "kind": kinds[i], "messages": messages[:i], "tools": specs,
                      "expected": expected, "text": messages[i]["content"]})
    (HERE / "eval.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cases))
    print(len(cases), "cases,", dropped, "left out because a name or value is in the training dialogues")


if __name__ == "__main__":
    main()
