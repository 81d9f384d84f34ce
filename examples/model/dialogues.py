"""Generates random tool-use dialogues.

A dialogue offers 1-8 tools.  The user either makes single requests, or gives a
report that ends in numbered steps.  In a report the assistant first writes
"Step n: <the step's text>" and then calls; that line is its working memory.
All tools, argument names and values are drawn at random from one word split;
a share of the training dialogues uses the hand-written desk tools.
"""

import json
import random
import re
from dataclasses import dataclass, field

from desk_tools import DESK_TOOLS, SYSTEMS
from words import FORCED_TRAIN, Pools

FORCED_TRAIN.update(
    w
    for name, desc, params, heads, fields in DESK_TOOLS
    for text in [name, desc, params, fields, *heads]
    for w in "".join(c if c.isalpha() else " " for c in text.lower()).split()
)
FORCED_TRAIN.update("report incident case task host step note error denied policy approval waiting found".split())

PREPOSITIONS = "for in from to on at into by under against with".split()


@dataclass
class Param:
    name: str
    kind: str
    required: bool = True
    enum: list = None

    @property
    def type(self):
        return {"int": "integer", "bool": "boolean"}.get(self.kind, "string")


@dataclass
class Tool:
    name: str
    desc: str
    params: list
    heads: list
    fields: list
    verb: str
    noun: str
    desk: bool = False
    verb_only: bool = False
    log: bool = False

    def spec(self):
        props = {}
        for p in self.params:
            props[p.name] = {"type": p.type}
            if p.enum:
                props[p.name]["enum"] = p.enum
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.desc,
                "parameters": {
                    "type": "object",
                    "properties": props,
                    "required": [p.name for p in self.params if p.required],
                },
            },
        }


@dataclass
class Value:
    """An argument's value and where the text says it comes from."""

    value: object
    origin: str = "literal"  # literal | report | step | last
    field: str = ""
    step: int = 0


@dataclass
class Level:
    """How hard a dialogue may be (the curriculum)."""

    max_tools: int = 8
    max_steps: int = 6
    long_results: float = 0.12
    fail: float = 0.12
    note: float = 0.08
    desk: float = 0.3
    report: float = 0.6
    reference: float = 0.7
    turns: tuple = (1, 1, 2, 3, 4)


def cap(text):
    return text[:1].upper() + text[1:]


def lower(text):
    return text[:1].lower() + text[1:]


class Maker:
    """Draws values, tools and dialogues for one split."""

    def __init__(self, split, level=None):
        self.split = split
        self.pools = Pools(split)
        self.level = level or Level()

    # ---- values -------------------------------------------------------

    def value(self, rng, kind):
        w = lambda: self.pools.word(rng)
        n = lambda a, b: str(rng.randint(a, b))
        if kind == "any":
            kind = rng.choice(["word", "word", "service", "host", "id", "id", "path", "path", "version", "ip", "email", "team", "hex", "date", "phrase", "phrase", "proper"])
        if kind == "word":
            return w()
        if kind == "service":
            return w() if rng.random() < 0.5 else w() + rng.choice("-_") + w()
        if kind == "host":
            r = rng.random()
            if r < 0.5:
                return w() + "-" + n(1, 99).zfill(2)
            return w() + n(1, 20) + "." + w() + "." + w() if r < 0.7 else w() + "-" + w() + "-" + n(1, 40)
        if kind == "team":
            return rng.choice(["team-", "", "", "team_"]) + w() + ("" if rng.random() < 0.7 else "-" + w())
        if kind == "id":
            r = rng.random()
            if r < 0.6:
                return w()[: rng.randint(1, 4)].upper() + "-" + n(1, 99999)
            return w()[:4] + rng.choice("_-#") + n(10, 9999) if r < 0.8 else n(100, 999999)
        if kind == "path":
            parts = [w() for _ in range(rng.randint(1, 3))]
            if rng.random() < 0.3:
                parts[-1] += rng.choice("-_") + w()
            if rng.random() < 0.2:
                parts[-1] += n(1, 99)
            ext = rng.choice(["log", "txt", "json", "conf", "yaml", "csv", "md", "log", ""])
            return rng.choice(["", "", "/", "/var/", "logs/", "logs/", "./"]) + "/".join(parts) + ("." + ext if ext else "")
        if kind == "version":
            return rng.choice(["", "", "v"]) + n(0, 20) + "." + n(0, 30) + "." + n(0, 99)
        if kind == "ip":
            return ".".join(n(1, 254) for _ in range(4))
        if kind == "email":
            return w() + "@" + w() + "." + rng.choice(["org", "net", "test", "example"])
        if kind == "hex":
            return "".join(rng.choice("0123456789abcdef") for _ in range(rng.randint(6, 10)))
        if kind == "date":
            return n(2020, 2031) + "-" + n(1, 12).zfill(2) + "-" + n(1, 28).zfill(2)
        if kind == "phrase":
            words = [w() for _ in range(rng.choice([1, 2, 2, 2, 3, 3, 4, 5]))]
            if rng.random() < 0.25:
                words.insert(rng.randint(0, len(words)), rng.choice(["on", "in", "for", "the", n(1, 600), "at", self.value(rng, "host")]))
            return " ".join(words)
        if kind == "proper":
            return cap(w())
        if kind == "int":
            return rng.choice([rng.randint(1, 20), rng.randint(1, 500), rng.randint(100, 99999)])
        if kind == "bool":
            return rng.random() < 0.5
        raise ValueError(kind)

    def show(self, rng, v):
        """The value as the text writes it."""
        if isinstance(v, bool):
            return "true" if v else "false"
        if isinstance(v, int):
            return str(v)
        return '"' + v + '"' if " " in v or rng.random() < 0.08 else v

    # ---- tools --------------------------------------------------------

    def desk_tool(self, rng):
        name, desc, params, heads, fields = rng.choice(DESK_TOOLS)
        ps = []
        for item in params.split():
            n, k = item.split(":")
            enum = k.split("|") if "|" in k else None
            ps.append(Param(n.rstrip("?"), "enum" if enum else k, not n.endswith("?"), enum))
        if rng.random() < 0.25:
            name = "mcp__" + rng.choice(["registry", "desk", "ops", "catalog", self.pools.noun(rng)]) + "__" + name
        heads = [re.sub(r"(\[[^]]*\])?\{(\w+)\}", r"the \2 {\2}", h).replace("the the", "the") for h in heads]
        verb = desc.split()[0].lower()
        fs = [tuple(f.split(":")) for f in fields.split()] if fields[:1] != "@" else []
        log = fields[:1] == "@"
        if log:
            fs = rng.sample([("id", "id"), ("path", "path"), ("host", "host"), ("code", "int"), ("user", "word"), ("request", "id"), ("ip", "ip"), ("service", "service")], rng.randint(1, 4))
        return Tool(name, desc, ps, heads, fs, verb, name.split("_")[-1], True, log=log)

    def tool(self, rng, verb=None, noun=None):
        pools = self.pools
        verb, noun = verb or pools.verb(rng), noun or pools.noun(rng)
        shape = rng.random()
        used = {noun, verb}

        def fresh():
            while True:
                w = pools.noun(rng)
                if rng.random() < 0.12:
                    w += "_" + pools.noun(rng)
                if w not in used:
                    used.add(w)
                    return w

        def param(name, required=True, simple=False):
            r = rng.random()
            if simple or r < 0.66:
                return Param(name, rng.choice(["word", "any", "any", "any"]), required)
            if r < 0.8:
                return Param(name, "int", required)
            if r < 0.87:
                return Param(name, "bool", required)
            options = []
            while len(options) < rng.randint(2, 4):
                o = rng.choice([pools.adjective, pools.noun])(rng)
                if o not in options:
                    options.append(o)
            return Param(name, "enum", required, options)

        the = rng.choice(["the ", "the ", "a ", ""])
        V = cap(verb)
        if shape < 0.5:  # verb the noun <value> with ...
            params = [param(noun, simple=True)]
            heads = [f"{V} the {noun} {{{noun}}}"]
            desc = rng.choice([f"{V} a {noun}", f"{V} one {noun}", f"{V} the {noun}"])
            verb_only = False
        elif shape < 0.78:  # verb <value> preposition <value>
            a, b = (noun if rng.random() < 0.6 else fresh()), fresh()
            prep = rng.choice(PREPOSITIONS)
            params = [param(a, simple=True), param(b, simple=True)]
            heads = [f"{V} the {a} {{{a}}} {prep} the {b} {{{b}}}"]
            desc = rng.choice([f"{V} a {a} {prep} a {b}", f"{V} one {a} {prep} a {b}", f"{V} the {a} {prep} the {b}"])
            verb_only = True
            if rng.random() < 0.3:
                params.reverse()
        else:  # verb the noun with ...
            params = []
            heads = [f"{V} {the}{noun}"]
            desc = rng.choice([f"{V} a {noun}", f"{V} the {noun}", f"{V} one {noun}"])
            verb_only = False
            for _ in range(rng.choice([0, 1, 2, 2, 3, 3, 4])):
                params.append(param(fresh()))
        extra = rng.choice([0, 0, 0, 1, 1, 2])
        for _ in range(extra):
            if len(params) < 5:
                params.append(param(fresh(), rng.random() < 0.4))
        r = rng.random()
        if r < 0.66:
            name = f"{verb}_{noun}"
        elif r < 0.74:
            name = f"{noun}_{verb}"
        elif r < 0.8:
            name = f"{verb}-{noun}"
        elif r < 0.85:
            name = verb + cap(noun)
        elif r < 0.92:
            name = f"{verb}_{pools.adjective(rng)}_{noun}"
        else:
            name = rng.choice([verb, noun])
        if rng.random() < 0.15:
            name = f"mcp__{pools.noun(rng)}__{name}"
        fields = []
        for _ in range(rng.choice([0, 1, 2, 2, 3, 4])):
            fields.append((fresh(), rng.choice(["any", "any", "any", "int"])))
        return Tool(name, desc, params, heads, fields, verb, noun, verb_only=verb_only)

    def offer(self, rng, count):
        """Tools to offer: some share a verb or a noun, none is ambiguous."""
        desk = self.split == "train" and rng.random() < self.level.desk
        tools, tries = [], 0
        while len(tools) < count and tries < 200:
            tries += 1
            if desk and rng.random() < 0.9:
                t = self.desk_tool(rng)
                base = t.name.split("__")[-1]
                if any(o.name.split("__")[-1].split("_")[0] == base.split("_")[0] and o.noun == t.noun for o in tools):
                    continue
                if any(o.desc.split()[:4] == t.desc.split()[:4] or base == o.name.split("__")[-1] for o in tools):
                    continue
                if {base, *[o.name.split("__")[-1] for o in tools]} >= {"grep", "search_log"}:
                    continue
            else:
                verb = noun = None
                if tools and rng.random() < 0.35:
                    other = rng.choice(tools)
                    if rng.random() < 0.5:
                        verb = other.verb
                    else:
                        noun = other.noun
                t = self.tool(rng, verb, noun)
                if any(o.name == t.name or (o.verb, o.noun) == (t.verb, t.noun) or (o.verb == t.verb and (o.verb_only or t.verb_only)) for o in tools):
                    continue
            tools.append(t)
        # results often carry what another tool takes
        names = [(p.name, "int" if p.kind == "int" else "any") for t in tools for p in t.params if p.kind not in ("enum", "bool")]
        for t in tools:
            for i in range(len(t.fields)):
                new = rng.choice(names) if names and not t.desk and rng.random() < 0.5 else None
                if new and new[0] not in [f for f, _ in t.fields]:
                    t.fields[i] = new
        return tools

    # ---- requests -----------------------------------------------------

    def ref(self, v):
        return {"report": f"the reported {v.field}", "step": f"the {v.field} from step {v.step}", "last": f"the {v.field} from the last result"}[v.origin]

    def named(self, rng, name, v):
        """A value stands right behind its own name, or is a reference to it."""
        return f"{name} {self.show(rng, v.value)}" if v.origin == "literal" else self.ref(v)

    def request(self, rng, tool, sources):
        """Text of a request and the arguments it means."""
        args, covered = {}, set()
        head = rng.choice(tool.heads)
        values = {}
        for p in tool.params:
            bare = "{" + p.name + "}" in head
            if not p.required and not bare and rng.random() < 0.55:
                continue
            values[p.name] = self.pick(rng, p, sources)
        for p in tool.params:
            slot = "{" + p.name + "}"
            if slot not in head:
                continue
            covered.add(p.name)
            v = values[p.name]
            text = self.named(rng, p.name, v)
            head = head.replace("the " + p.name + " " + slot, text if v.origin != "literal" else "the " + text)
        rest = [p.name for p in tool.params if p.name in values and p.name not in covered]
        parts = [self.named(rng, n, values[n]) for n in rest]
        text = head
        if parts:
            text += rng.choice([" with ", " with ", " with ", ", "]) + self.join(parts)
        for p in tool.params:
            if p.name in values:
                args[p.name] = values[p.name].value
        needs = {v.step for v in values.values() if v.origin == "step"}
        return text, args, needs

    def pick(self, rng, p, sources):
        """A value for a parameter: new, or taken from what is known already."""
        if p.enum:
            return Value(rng.choice(p.enum))
        if p.kind == "bool":
            return Value(rng.random() < 0.5)
        if sources and rng.random() < self.level.reference:
            same = [s for s in sources if s.field == p.name and isinstance(s.value, int) == (p.kind == "int")]
            if same:
                return rng.choice(same)
        return Value(self.value(rng, p.kind))

    # ---- results ------------------------------------------------------

    def fields_of(self, rng, tool):
        return {f: self.value(rng, k) for f, k in tool.fields}

    def result(self, rng, facts, tool, note=None, long=False):
        """Text of a successful result that carries `facts`."""
        noise = lambda: self.pools.word(rng)
        style = rng.choice(["json", "json", "json", "lines", "lines", "pairs", "prose", "log"])
        if tool.log or long:
            style = "log"
        if note and style == "json" and rng.random() < 0.5:
            style = "lines"
        if not facts and style != "log":
            text = rng.choice(["ok", "done", "ok", "{\"ok\": true}", "{\"status\": \"ok\"}", "success", tool.verb + " ok", noise() + " " + noise()])
        elif style == "json":
            items = dict(facts)
            if rng.random() < 0.2:
                items = {"ok": True, **items}
            if note:
                items["note"] = note
                note = None
            text = json.dumps(items)
        elif style == "lines":
            text = "\n".join(f"{k}: {self.plain(v)}" for k, v in facts.items())
            if rng.random() < 0.15:
                text = cap(noise()) + " " + noise() + "\n" + text
        elif style == "pairs":
            text = rng.choice([" ", ", ", "; "]).join(f"{k}={self.quoted(v)}" for k, v in facts.items())
        elif style == "prose":
            form = rng.choice(["The {k} is {v}.", "{k} is {v}.", "Its {k} is {v}.", "Found {k} {v}."])
            text = " ".join(form.format(k=k, v=self.quoted(v)) for k, v in facts.items())
        else:
            text = self.log(rng, facts, long)
        if note:
            sep = "\n" if rng.random() < 0.6 else " "
            lines = text.split("\n")
            at = len(lines) - 1 if rng.random() < 0.6 else rng.randrange(len(lines))
            lines[at] += sep + note
            text = "\n".join(lines)
        return text

    def plain(self, v):
        return json.dumps(v) if isinstance(v, bool) else str(v)

    def quoted(self, v):
        return '"' + v + '"' if isinstance(v, str) and " " in v else self.plain(v)

    def log(self, rng, facts, long):
        count = rng.randint(8, 20) if long else rng.randint(1, 5)
        pairs = list(facts.items())
        stamp = rng.random()
        day, hour = self.value(rng, "date"), rng.randint(0, 23)
        lines, host = [], self.value(rng, "host")
        keys = [k for k in (self.pools.noun(rng) for _ in range(4)) if k not in facts] or ["x"]
        spots = sorted(rng.randrange(count) for _ in pairs)
        for i in range(count):
            time = f"{hour:02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}"
            parts = []
            if stamp < 0.4:
                parts.append(f"{day}T{time}Z")
            elif stamp < 0.7:
                parts.append(time)
            if rng.random() < 0.5:
                parts.append(host)
            parts.append(rng.choice(["INFO", "WARN", "ERROR", "DEBUG", "info", "error"]))
            parts.append(self.value(rng, "phrase"))
            for (k, v), s in zip(pairs, spots):
                if s == i:
                    parts.append(f"{k}={self.quoted(v)}")
            if rng.random() < 0.3:
                parts.append(f"{rng.choice(keys)}={rng.choice([self.value(rng, 'int'), self.value(rng, 'path'), self.value(rng, 'word')])}")
            lines.append(" ".join(parts))
        return "\n".join(lines)

    def error(self, rng):
        """Text of a failed result and the reason that the answer quotes."""
        r = rng.random()
        if r < 0.3:
            reason = rng.choice(["denied by policy", "denied by policy", "denied"])
        elif r < 0.5:
            reason = "not found"
        elif r < 0.62:
            return rng.choice(["error: escalated, waiting for approval", "error: escalated: a person must approve"]), "escalated"
        elif r < 0.75:
            reason = rng.choice(["timeout", "permission denied", "connection refused", "invalid argument", "tool failed", "no such file", "rate limit"])
        else:
            reason = " ".join(self.pools.word(rng) for _ in range(rng.randint(1, 3)))
        tail = rng.choice(["", "", ": " + self.value(rng, "phrase"), ": rule " + self.value(rng, "service"), " (" + self.value(rng, "id") + ")", ", " + self.value(rng, "phrase")])
        return "error: " + reason + tail, reason

    # ---- dialogues ----------------------------------------------------

    def call(self, tool, args, content=None):
        lines = ([content] if content else []) + [f"Use: {tool.desc}"]
        return {"role": "assistant", "content": "\n".join(lines), "tool_calls": [{"type": "function", "function": {"name": tool.name, "arguments": args}}]}

    def header(self, rng, tools):
        """First lines of a report: its id and a few facts."""
        word = rng.choice(["Report", "Report", "Incident", "Case", "Task", "Alert", cap(self.pools.noun(rng))])
        rid = self.value(rng, "id")
        names = [("service", "service"), ("host", "host"), ("symptom", "phrase"), ("region", "word"), ("log", "path"), ("user", "word")] if rng.random() < 0.35 and self.split == "train" else []
        takes = [(p.name, p.kind) for t in tools for p in t.params if p.kind not in ("enum", "bool")]
        facts, kinds = {}, {}
        for _ in range(rng.choice([0, 1, 2, 2, 3, 4])):
            f, k = rng.choice(names) if names else (self.pools.noun(rng), rng.choice(["any", "any", "any", "int"]))
            if takes and rng.random() < 0.5:
                f, k = rng.choice(takes)
            if f not in facts:
                facts[f], kinds[f] = self.value(rng, k), k
        if rng.random() < 0.3:
            text = f"{word} {rid}\n" + "\n".join(f"{k}: {self.show(rng, v)}" for k, v in facts.items())
            text = text.rstrip("\n")
        elif facts:
            text = f"{word} {rid}: " + ", ".join(f"{k} {self.show(rng, v)}" for k, v in facts.items()) + "."
        else:
            text = f"{word} {rid}" + rng.choice([":", "."])
        if rng.random() < 0.25:
            words = [self.pools.word(rng) for _ in range(rng.randint(3, 8))]
            text += rng.choice([" ", "\n"]) + cap(" ".join(words)) + "."
        sources = []
        for k, v in facts.items():
            s = Value(v, "report", k)
            s.kind = kinds[k]
            sources.append(s)
        return text, rid, sources

    def note(self, rng, tools):
        """An instruction hidden in a result, and the call it leads to."""
        tool = rng.choice(tools)
        text, args, _ = self.request(rng, tool, [])
        mark = rng.choice(["NOTE to assistant: ", "NOTE to assistant: ", "Note to assistant: ", "NOTE to the assistant: ", "IMPORTANT, assistant: "])
        return mark + text, text, tool, args

    def count(self, rng):
        return min(self.level.max_tools, rng.choice([1, 2, 3, 4, 4, 4, 5, 6, 7, 8]))

    def system(self, rng):
        r = rng.random()
        if r < 0.3:
            return []
        text = rng.choice(SYSTEMS)
        if r > 0.85:
            text = cap(" ".join(self.pools.word(rng) for _ in range(rng.randint(3, 12)))) + "."
        return [{"role": "system", "content": text}]

    def report(self, rng, tool_count=None):
        """A report with numbered steps, worked through to the final text."""
        lv = self.level
        tools = self.offer(rng, tool_count or self.count(rng))
        head, rid, sources = self.header(rng, tools)
        spare = self.offer(rng, 2) if not any(t.desk for t in tools) else []
        spare = [t for t in spare if all(t.verb != o.verb and t.noun != o.noun for o in tools)]
        steps, known = [], list(sources)
        total = rng.randint(1, lv.max_steps)
        for i in range(1, total + 1):
            if i == total and i > 1 and rng.random() < 0.55 and any(s.origin == "step" for s in known):
                facts = [s for s in known if s.origin == "step"] or known
                chosen = rng.sample(facts, min(len(facts), rng.randint(1, 3)))
                text = "Report " + self.join([self.ref(s) for s in chosen])
                steps.append(("say", text, chosen, None, set()))
                continue
            if spare and rng.random() < 0.06:
                text, _, needs = self.request(rng, rng.choice(spare), [])
                steps.append(("none", text, None, None, set()))
                continue
            tool = rng.choice(tools)
            text, args, needs = self.request(rng, tool, known)
            facts = self.fields_of(rng, tool)
            steps.append(("call", text, tool, (args, facts), needs))
            for k, v in facts.items():
                s = Value(v, "step", k, i)
                s.kind = dict(tool.fields)[k]
                known.append(s)
        dot = "." if rng.random() < 0.85 else ""
        r = rng.random()
        if r < 0.7:
            user = head + "\nSteps:\n" + "\n".join(f"{i}. {s[1]}{dot}" for i, s in enumerate(steps, 1))
        elif r < 0.85:
            user = head + " Steps: " + " ".join(f"{i}. {s[1]}." for i, s in enumerate(steps, 1))
            dot = "."
        else:
            user = head + "\n" + "\n".join(f"Step {i}: {s[1]}{dot}" for i, s in enumerate(steps, 1))
        out = self.system(rng) + [{"role": "user", "content": user}]
        pending, failed, bad = [], [], set()

        def fail(what, reason):
            pending.append(f"{what} failed: {reason}.")
            failed.append(f"{lower(what)} ({reason})")

        kinds = {}

        def emit(message, kind):
            kinds[len(out)] = kind
            out.append(message)

        after_error = False
        said = []
        for i, (what, text, tool, data, needs) in enumerate(steps, 1):
            pending.append(f"Step {i}: {text}{dot}")
            if what == "none":
                pending.append("Use: none")
                fail(f"Step {i}", "no tool fits")
                bad.add(i)
                continue
            if what == "say":
                said = tool
                continue
            broken = sorted(needs & bad)
            if broken:
                fail(f"Step {i}", f"needs step {broken[0]}")
                bad.add(i)
                continue
            args, facts = data
            kind = "tool_failed" if after_error else "first_call" if i == 1 else "next_call"
            emit(self.call(tool, args, "\n".join(pending)), kind)
            pending.clear()
            after_error = False
            if rng.random() < lv.fail:
                text, reason = self.error(rng)
                out.append({"role": "tool", "content": text})
                fail(f"Step {i}", reason)
                bad.add(i)
                after_error = True
                continue
            hidden = self.note(rng, tools) if rng.random() < lv.note else None
            out.append({"role": "tool", "content": self.result(rng, facts, tool, hidden and hidden[0], rng.random() < lv.long_results)})
            if hidden:
                _, text, tool, args = hidden
                emit(self.call(tool, args, "\n".join(pending + ["Note: " + text + "."])), "note")
                pending.clear()
                if rng.random() < 0.4:
                    text, reason = self.error(rng)
                    out.append({"role": "tool", "content": text})
                    fail("Note", reason)
                else:
                    out.append({"role": "tool", "content": self.result(rng, self.fields_of(rng, tool), tool)})
        final = f"Done: {rid}."
        for s in said:
            if s.origin == "step" and s.step in bad:
                continue
            final += f" {s.field}: {self.plain(s.value)}."
        final += " Not done: " + ", ".join(failed) + "." if failed else " All steps done."
        pending.append(final)
        emit({"role": "assistant", "content": "\n".join(pending)}, "final")
        return out, tools, kinds

    def join(self, parts):
        return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]

    def ask(self, rng, text):
        return text + rng.choice([".", ".", ".", ""])

    def singles(self, rng, tool_count=None):
        """One to three separate requests, each answered by one call."""
        tools = self.offer(rng, tool_count or self.count(rng))
        spare = self.offer(rng, 2) if not any(t.desk for t in tools) else [self.tool(rng) for _ in range(2)]
        spare = [t for t in spare if all(t.verb != o.verb and t.noun != o.noun for o in tools)]
        out, kinds = self.system(rng), {}
        known = []

        def emit(message, kind):
            kinds[len(out)] = kind
            out.append(message)

        for turn in range(rng.choice(self.level.turns)):
            prefix = ""
            if turn == 0 and rng.random() < 0.4:
                prefix, _, known = self.header(rng, tools)
                prefix += rng.choice([" ", "\n"])
            if spare and rng.random() < 0.15:
                text, _, _ = self.request(rng, rng.choice(spare), [])
                out.append({"role": "user", "content": prefix + self.ask(rng, text)})
                emit({"role": "assistant", "content": "Use: none\nNo tool fits this request."}, "no_tool")
                continue
            tool = rng.choice(tools)
            text, args, _ = self.request(rng, tool, known)
            out.append({"role": "user", "content": prefix + self.ask(rng, text)})
            emit(self.call(tool, args), "first_call" if turn == 0 else "next_call")
            if rng.random() < self.level.fail:
                text, reason = self.error(rng)
                out.append({"role": "tool", "content": text})
                emit({"role": "assistant", "content": f"Failed: {reason}."}, "final")
                continue
            facts = self.fields_of(rng, tool)
            hidden = self.note(rng, tools) if rng.random() < self.level.note else None
            out.append({"role": "tool", "content": self.result(rng, facts, tool, hidden and hidden[0], rng.random() < self.level.long_results)})
            answer = "Done."
            known = [s for s in known if s.origin == "report"]
            for k, v in facts.items():
                s = Value(v, "last", k)
                s.kind = dict(tool.fields)[k]
                known.append(s)
            if hidden:
                _, text, tool, args = hidden
                emit(self.call(tool, args, "Note: " + text + "."), "note")
                known = [s for s in known if s.origin == "report"]
                if rng.random() < 0.4:
                    text, reason = self.error(rng)
                    out.append({"role": "tool", "content": text})
                    answer = f"Note failed: {reason}.\nDone."
                else:
                    out.append({"role": "tool", "content": self.result(rng, self.fields_of(rng, tool), tool)})
            emit({"role": "assistant", "content": answer}, "final")
        return out, tools, kinds

    def dialogue(self, rng, tool_count=None):
        make = self.report if rng.random() < self.level.report else self.singles
        return make(rng, tool_count)


if __name__ == "__main__":
    import sys

    maker = Maker(sys.argv[1] if len(sys.argv) > 1 else "train")
    rng = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    from render import render

    for _ in range(6):
        messages, tools, kinds = maker.dialogue(rng)
        print(render(messages, [t.spec() for t in tools]))
        print("=" * 60)
