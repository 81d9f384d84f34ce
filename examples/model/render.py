"""Renders messages through the chat template that ships inside the GGUF.

Training data, evaluation and the engine all use this one template, so the
model never sees a prompt that differs from what it was trained on.
"""

import json
from pathlib import Path

import jinja2

TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text()

_env = jinja2.Environment(trim_blocks=False, lstrip_blocks=False, keep_trailing_newline=False)
_env.filters["tojson"] = lambda x: json.dumps(x, ensure_ascii=False)
_template = _env.from_string(TEMPLATE.rstrip("\n"))


def render(messages, tools=None, add_generation_prompt=False):
    """The prompt text of a dialogue."""
    return _template.render(messages=messages, tools=tools or None, add_generation_prompt=add_generation_prompt)
