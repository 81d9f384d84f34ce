"""Writes reference.json: what an engine must compute with ambit-desk.gguf.

For three short prompts: the rendered text, its token ids, the fp32 logits of
the last position and the greedy continuation, all from the exported weights.
"""

import json
from pathlib import Path

import torch

from gguf_model import load
from render import render
from tokenizer import Tokenizer

HERE = Path(__file__).parent


def tool(name, description, required, **properties):
    return {"type": "function", "function": {"name": name, "description": description, "parameters": {
        "type": "object", "properties": properties, "required": required}}}


TOOLS = [
    tool("lookup_service", "Look up a service", ["service"], service={"type": "string"}),
    tool("restart_service", "Restart a service in an environment", ["service"], service={"type": "string"},
         environment={"type": "string", "enum": ["staging", "production"]}),
]
REPORT = "Report INC-7: service checkout, host web-03.\nSteps:\n1. Look up the service checkout.\n2. Restart the service checkout with environment staging."
CALL = {"type": "function", "function": {"name": "lookup_service", "arguments": {"service": "checkout"}}}
PROMPTS = [
    ([{"role": "user", "content": "Look up the service mail-7."}], TOOLS[:1]),
    ([{"role": "system", "content": "You run the steps of a report with the tools."}, {"role": "user", "content": REPORT}], TOOLS),
    ([{"role": "user", "content": REPORT}, {"role": "assistant", "content": "Step 1: Look up the service checkout.\nUse: Look up a service", "tool_calls": [CALL]},
      {"role": "tool", "content": "{\"owner\": \"team-blue\", \"tier\": 2}"}], TOOLS),
]


@torch.no_grad()
def main():
    model, _ = load(HERE / "ambit-desk.gguf")
    tok, out = Tokenizer(), []
    for messages, tools in PROMPTS:
        text = render(messages, tools, True)
        ids = tok.encode(text)
        logits = model(torch.tensor([ids]))[0, -1]
        greedy, more = [], list(ids)
        for _ in range(16):
            greedy.append(int(model(torch.tensor([more]))[0, -1].argmax()))
            more.append(greedy[-1])
        out.append({"messages": messages, "tools": tools, "text": text, "tokens": ids,
                    "logits": [round(float(x), 5) for x in logits], "greedy": greedy, "greedy_text": tok.decode(greedy)})
    (HERE / "reference.json").write_text(json.dumps(out, indent=0) + "\n")


if __name__ == "__main__":
    main()
