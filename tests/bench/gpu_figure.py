"""gpu_figure.py CASE GOAL FIELD FILE: the lines of `ambit model bench --json` as figures with a goal; see gpu.sh."""
import json
import sys

label, goal, field, path = sys.argv[1:]
for line in open(path):
    figure = json.loads(line)
    ours = figure[field]
    met = None
    if goal != "-":
        sign, limit = goal.split()
        met = ours >= float(limit) if sign == ">" else ours <= float(limit)
    print(json.dumps({"bench": "gpu", "case": label, "unit": field, "ours": ours, "goal": goal, "met": met, **figure}))
