"""judge.py RENDERER FOLDER...: each template of the folders renders each conversation, by RENDERER and by Jinja; and what
RENDERER says that well-known ones have words for is so.

Jinja is set up as the libraries that serve these models set it up (blocks trimmed, loop controls, `raise_exception`,
JSON as Python writes it), without a clock: a prompt is to be the same whenever it is made. Prints one line of JSON a
template that differs, then {suite, passed, failed, skipped}."""

import json
import pathlib
import subprocess
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

# What differs and why that stays: counted as skipped.
KNOWN = {
    "ByteDance-Seed-OSS.jinja": "its dictionary has numbers for keys; our values are JSON, whose keys are strings",
    "MiroThinker.jinja": "it changes a message as if it were a namespace, which Jinja refuses",
    "llama-cpp-deepseek-r1.jinja": "it writes a generator as JSON, which Python refuses; our filters give lists",
    "meetkai-functionary-medium-v3.1.jinja": "its `safe` makes Python write the quotes of JSON as HTML entities",
}

# What these are known to have words for.
WORDS = {
    "Qwen-Qwen2.5-7B-Instruct.jinja": {"system": True, "tools": "hermes"},
    "Qwen-Qwen3-0.6B.jinja": {"system": True, "tools": "hermes"},
    "HuggingFaceTB-SmolLM3-3B.jinja": {"system": True, "tools": "ours"},  # takes xml_tools instead of tools
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja": {"system": True, "tools": "hermes"},
    "meta-llama-Llama-3.1-8B-Instruct.jinja": {"system": True, "tools": "llama"},
    "meta-llama-Llama-3.2-3B-Instruct.jinja": {"system": True, "tools": "llama"},
    "mistralai-Mistral-Nemo-Instruct-2407.jinja": {"system": True, "tools": "ours"},
    "microsoft-Phi-3.5-mini-instruct.jinja": {"system": True, "tools": "ours"},
    "google-gemma-2-2b-it.jinja": {"system": False, "tools": "ours"},
}


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks what a model says, for training; it prints as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    made.filters["tojson"] = lambda value, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    made.globals["raise_exception"] = refuse
    return made


def call(name, arguments, number):
    return {"id": f"call0000{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = [
    {"type": "function", "function": {
        "name": "lookup", "description": "Looks up who owns a service.",
        "parameters": {"type": "object", "properties": {
            "service": {"type": "string", "description": "its name"},
            "depth": {"type": "integer", "enum": [1, 2]}}, "required": ["service"]}}},
    {"type": "function", "function": {
        "name": "clock", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
SYSTEM = {"role": "system", "content": " Be brief.\nSpeak plainly. "}
ASK = {"role": "user", "content": "Who owns <mail> & \"web\"? W\u00f6rld \U0001f600\n"}
ONE = {"role": "assistant", "content": "", "tool_calls": [call("lookup", {"service": "mail", "depth": 2}, 1)]}
TWO = {"role": "assistant", "content": "I look.", "tool_calls": [
    call("lookup", {"service": "w\u00e9b", "deep": {"list": [1, 2.5, True, None, "a'b"]}}, 2), call("clock", {}, 3)]}
CONVERSATIONS = {
    "a question": [ASK],
    "a dialogue": [SYSTEM, ASK, {"role": "assistant", "content": "Blue. "}, {"role": "user", "content": ""}],
    "a thought": [ASK, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nBlue."}, ASK],
    "a call": [SYSTEM, ASK, ONE],
    "a result": [SYSTEM, ASK, ONE,
                 {"role": "tool", "name": "lookup", "tool_call_id": "call00001", "content": "{\"owner\": \"blue\"}"}],
    "two calls": [ASK, ONE,
                  {"role": "tool", "name": "lookup", "tool_call_id": "call00001", "content": "blue"}, TWO,
                  {"role": "tool", "name": "lookup", "tool_call_id": "call00002", "content": "red"},
                  {"role": "tool", "name": "clock", "tool_call_id": "call00003", "content": "12:00"},
                  {"role": "assistant", "content": "Blue and red."}, {"role": "user", "content": "Thanks"}],
}


def cases():
    for name, messages in CONVERSATIONS.items():
        for tools in (None, TOOLS):
            for prompt in (True, False):
                yield f"{name}{', tools' if tools else ''}{', prompt' if prompt else ''}", {
                    "messages": messages, "tools": tools, "add_generation_prompt": prompt,
                    "bos_token": "<s>", "eos_token": "</s>"}


def expected(source, variables):
    try:
        return environment().from_string(source).render(**variables)
    except Exception as error:  # whatever stops a template: Python's own errors, too
        return error


def main():
    def ask(question):
        renderer.stdin.write(json.dumps(question) + "\n")
        renderer.stdin.flush()
        return json.loads(renderer.stdout.readline())

    renderer = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    passed = failed = skipped = 0
    for folder in sys.argv[2:]:
        if not folder:
            print("skipped: the public templates; CHAT_TEMPLATES names no folder", file=sys.stderr)
            skipped += 1
            continue
        files = sorted(path for path in pathlib.Path(folder).iterdir() if path.suffix in (".jinja", ".txt"))
        if not files:
            sys.exit(f"judge.py: there is no .jinja file in {folder}")
        for path in files:
            source = path.read_text(encoding="utf-8")
            wrong = {}
            if path.name in WORDS:
                words = ask({"source": source})
                passed += words == WORDS[path.name]
                failed += words != WORDS[path.name]
                if words != WORDS[path.name]:
                    print(json.dumps({"template": path.name, "words": words, "expected": WORDS[path.name]}))
            for name, variables in cases():
                ours = ask({"source": source, "variables": variables})
                theirs = expected(source, variables)
                if isinstance(theirs, Exception):
                    if "error" not in ours:
                        wrong[name] = {"theirs": f"refused: {theirs}", "ours": ours["text"]}
                elif ours.get("text") != theirs:
                    wrong[name] = {"theirs": theirs, "ours": ours.get("text") or ours}
                if name in wrong and path.name in KNOWN:
                    skipped += 1
                elif name in wrong:
                    failed += 1
                else:
                    passed += 1
            if wrong and path.name in KNOWN:
                print(f"skipped: {len(wrong)} of {path.name}: {KNOWN[path.name]}", file=sys.stderr)
            elif wrong:
                first = next(iter(wrong))
                print(json.dumps({"template": path.name, "differs": list(wrong), "case": first, **wrong[first]}))
    renderer.stdin.close()
    renderer.wait()
    print(json.dumps({"suite": "chat_templates", "passed": passed, "failed": failed, "skipped": skipped}))
    sys.exit(1 if failed else 0)


main()
