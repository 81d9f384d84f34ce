"""gpu_figure.py CASE GOAL FIELD FILE [GFLOP PEAK]: the lines of `ambit model bench --json` as figures with a goal; see gpu.sh.
FIELD may be a quotient, A/B. GFLOP: what one token's products take; with it and PEAK (TFLOP/s of a large product) each
figure says its own TFLOP/s and their part of the peak (ofPeak).
gpu_figure.py CASE GOAL of RESULTS CASE_A CASE_B...: of a file of results, what A says against B; of several B's the one that
says most, which is named. Nothing, where A or all B's are missing."""
import json
import sys


def value_of(figure, field):
    values = [figure.get(name) for name in field.split("/")]  # none: the device does not say
    if len(values) == 1:
        return values[0]
    return values[0] / values[1] if values[0] is not None and values[1] else None


def show(label, goal, unit, ours, more):
    met = None
    if goal != "-" and ours is not None:
        sign, limit = goal.split()
        met = ours >= float(limit) if sign == ">" else 0 < ours <= float(limit)
    print(json.dumps({"bench": "gpu", "case": label, "unit": unit, "ours": ours, "goal": goal, "met": met, **more},
                     separators=(",", ":")))


label, goal, field, path, *rest = sys.argv[1:]
if field == "of":
    found = {}
    for line in open(path):
        figure = json.loads(line)
        if figure.get("case") in rest and figure.get("ours"):
            found[figure["case"]] = figure["ours"]
    others = [case for case in rest[1:] if case in found]
    if rest[0] in found and others:
        best = max(others, key=found.get)
        show(label, goal, "ratio", found[rest[0]] / found[best], {"against": best, "others": len(others)})
else:
    for line in open(path):
        figure = json.loads(line)
        if len(rest) == 2:
            figure["tflops"] = figure["tokensPerSecond"] * float(rest[0]) / 1000
            figure["ofPeak"] = figure["tflops"] / float(rest[1]) if float(rest[1]) else 0
        show(label, goal, field, value_of(figure, field), figure)
