"""Writes eval.jsonl: held-out cases, four tools offered each.

A case is one assistant turn: the messages before it, the tools, and the call
that is right (or null where a text is right).  Tool names, argument names and
values come from the held-out word split; the script checks that none of them
occurs in the training shards' dialogues.
"""

import json
import random
from pathlib import Path

from dialogues import Maker
from render import render
from tokenizer import Tokenizer

HERE = Path(__file__).parent
WANT = {"first_call": 150, "next_call": 170, "tool_failed": 50, "note": 30, "no_tool": 30, "final": 50}


def main():
    rng, maker, tok = random.Random(4242), Maker("held"), Tokenizer()
    left, cases = dict(WANT), []
    while any(left.values()):
        messages, tools, kinds = maker.dialogue(rng, 4)
        specs = [t.spec() for t in tools]
        if len(specs) != 4 or len(tok.encode(render(messages, specs))) > 1900:
            continue
        options = [i for i, k in kinds.items() if left.get(k)]
        if not options:
            continue
        i = max(options, key=lambda i: (left[kinds[i]] / WANT[kinds[i]], rng.random()))
        call = messages[i].get("tool_calls")
        expected = {"name": call[0]["function"]["name"], "arguments": call[0]["function"]["arguments"]} if call else None
        left[kinds[i]] -= 1
        cases.append({"id": f"held-{len(cases):03d}", "kind": kinds[i], "messages": messages[:i], "tools": specs,
                      "expected": expected, "text": messages[i]["content"]})
    (HERE / "eval.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cases))
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
