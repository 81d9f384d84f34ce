"""desk.py AMBIT: what the incident desk costs with every turn by the planner's model, and by plan-and-execute. One line of JSON.

Both ways the clerk's words are decoded by the desk's own model, under two price tables (dollars for a million tokens). The planner is
scripted, and a scripted model counts words: its prices are raised so that it pays for a token every four bytes of what it reads and
says, as large models' tokenizers come to."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

LARGE = {"input": 15, "cachedInput": 1.5, "output": 75}
SMALL = {"input": 0.15, "cachedInput": 0.015, "output": 0.75}
BYTES_A_TOKEN = 4
GOAL = 0.8
ambit = sys.argv[1]
root = pathlib.Path(__file__).resolve().parents[3]
desk = root / "examples" / "1-incident-desk"
whole = pathlib.Path(tempfile.mkdtemp(prefix="ambit-cost-"))
folder = whole / "desk"  # what its servers may read; the record lies outside
folder.mkdir()
PLAN = {"steps": [{"id": "work", "agent": "clerk", "task": "${goal}", "after": []}]}


def without_comments(text):
    kept = [line for line in text.splitlines() if not line.strip().startswith("//")]
    return json.loads("\n".join(kept))


def prepared():
    fleet = without_comments((desk / "fleet.json").read_text(encoding="utf-8"))
    fleet.pop("$schema")
    fleet["models"]["desk"]["model"] = str(root / "examples/model/ambit-desk.gguf")
    fleet["agents"]["clerk"].pop("a2a", None)
    server = fleet["mcpServers"]["registry"]
    server["command"] = os.environ.get("REGISTRY_SERVER", str(root / "build/release/registry-server"))
    for name in ("desk.cedar", "registry.json", "reports.jsonl", "logs", "tools"):
        source, target = desk / name, folder / name
        if not target.exists():
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return fleet


def run(name, fleet):
    path = folder / (name + ".json")
    path.write_text(json.dumps(fleet), encoding="utf-8")
    state = whole / name
    done = subprocess.run([ambit, "run", str(path), "--seed", "7", "--state", str(state), "--json", "--quiet"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    lines = subprocess.run([ambit, "cost", "--state", str(state), "--by", "agent", "--json"], capture_output=True, text=True, check=True)
    costs = {row["agent"]: row["costMicros"] for row in map(json.loads, lines.stdout.splitlines())}
    listed = subprocess.run([ambit, "audit", "list", "--state", str(state), "--type", "action.outcome", "--tool", "open_ticket", "--json"],
                            capture_output=True, text=True, check=True)
    tickets = sorted(r["session"].split(".")[0] for r in map(json.loads, listed.stdout.splitlines()) if r["body"]["outcome"] == "ok")
    return costs, sorted(set(tickets))


all_planner = prepared()
all_planner["models"]["desk"]["price"] = LARGE
dear, dear_tickets = run("all-planner", all_planner)

planned = prepared()
planned["models"]["desk"]["price"] = SMALL
said = json.dumps(PLAN, separators=(",", ":"))
(folder / "plan.json").write_text(json.dumps([{"say": said}]), encoding="utf-8")


def raised(price, text):
    return price * len(text.encode()) / BYTES_A_TOKEN / len(text.split())


reports = [json.loads(line) for line in (desk / "reports.jsonl").read_text(encoding="utf-8").splitlines()]
prompts = " ".join(report["steps"] + report["symptom"] for report in reports)
planned["models"]["planner"] = {"provider": "scripted", "model": str(folder / "plan.json"),
                                "price": {"input": raised(LARGE["input"], prompts), "output": raised(LARGE["output"], said)}}
planned["agents"]["planner"] = {"model": "planner", "owner": "ops@example.com", "limits": {"maxTokens": 8000}}
flow = planned["workflow"]
del flow["agent"]
flow.update({"pattern": "plan-execute", "planner": "planner", "executors": ["clerk"], "maxSteps": 4, "maxReplans": 0})
(folder / "desk.cedar").write_text((desk / "desk.cedar").read_text(encoding="utf-8") + """
permit (principal == Agent::"planner", action == Action::"model_call", resource);
permit (principal == Agent::"planner", action == Action::"spawn", resource == Agent::"clerk");
""", encoding="utf-8")
cheap, cheap_tickets = run("plan-execute", planned)
shutil.rmtree(whole)

before, after = sum(dear.values()), sum(cheap.values())
saved = 1 - after / before
good = saved >= GOAL and len(cheap_tickets) >= len(dear_tickets) > 0
print(json.dumps({"suite": "cost", "passed": int(good), "failed": int(not good), "skipped": 0, "reports": len(reports),
                  "ticketsAllPlanner": len(dear_tickets), "ticketsPlanExecute": len(cheap_tickets),
                  "microsAllPlanner": before, "microsPlanExecute": after, "microsOfThePlans": cheap.get("planner", 0),
                  "saved": round(saved, 4), "goal": GOAL}))
sys.exit(0 if good else 1)
