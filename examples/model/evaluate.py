"""Scores a GGUF file on eval.jsonl: greedy decoding, no grammar.

A call is right when the tool and every argument are equal to what is
expected; a text turn is right when no call is made (and, counted apart, when
the text is equal).
"""

import argparse
import collections
import json
from pathlib import Path

import torch

from gguf_model import load
from render import render
from tokenizer import Tokenizer

HERE = Path(__file__).parent


@torch.no_grad()
def decode(model, tok, prompt, limit=300, dtype=torch.bfloat16):
    """Greedy continuation of the prompt ids up to <|im_end|>."""
    caches = [[] for _ in model.blocks]
    logits = model(torch.tensor([prompt]), dtype, caches)
    out, at = [], len(prompt)
    while len(out) < limit:
        best = int(logits[0, -1].argmax())
        if best == tok.eos:
            break
        out.append(best)
        logits = model(torch.tensor([[best]]), dtype, caches, at)
        at += 1
    return tok.decode(out)


def call_of(text):
    """The first call in a turn, or None."""
    if "<tool_call>" not in text:
        return None
    body = text.split("<tool_call>", 1)[1].split("</tool_call>")[0]
    try:
        return json.loads(body)
    except ValueError:
        return {"broken": body}


def same(a, b):
    """Equal including types: 1 is not True and not "1"."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", default=str(HERE / "ambit-desk.gguf"))
    ap.add_argument("--cases", default=str(HERE / "eval.jsonl"))
    ap.add_argument("--limit", type=int, default=0)
    ap.add_argument("--show", type=int, default=0, help="print so many failures")
    ap.add_argument("--fp32", action="store_true")
    args = ap.parse_args()
    torch.set_num_threads(1)
    model, _ = load(args.model)
    tok = Tokenizer()
    right, total, texts = collections.Counter(), collections.Counter(), collections.Counter()
    cases = [json.loads(x) for x in open(args.cases)]
    if args.limit:
        cases = cases[:: max(1, len(cases) // args.limit)]
    for c in cases:
        prompt = tok.encode(render(c["messages"], c["tools"], True))
        text = decode(model, tok, prompt, dtype=torch.float32 if args.fp32 else torch.bfloat16)
        got = call_of(text)
        ok = same(got, c["expected"])
        for k in (c["kind"], "all calls" if c["expected"] else "all texts"):
            total[k] += 1
            right[k] += ok
        texts[c["kind"]] += text.split("\n<tool_call>")[0].strip() == (c.get("text") or "").strip() if not got or c.get("text") else ok
        if not ok and args.show > 0:
            args.show -= 1
            print("----", c["id"], c["kind"], "\nwant", json.dumps(c["expected"]), "\ngot ", text)
    for k in sorted(total):
        print(f"{k:12} {right[k]:4}/{total[k]:<4} {right[k]/total[k]:.3f}" + (f"   text exact {texts[k]}" if k in texts else ""))


if __name__ == "__main__":
    main()
