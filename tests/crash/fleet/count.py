"""count.py TRANSCRIPTS EFFECTS: what became of every agent, against what happened outside of the program."""
import collections
import json
import sys

paid = collections.Counter()
for line in open(sys.argv[2], encoding="utf-8"):
    what, _, where = line.strip().partition(" ")
    if what == "pay":
        paid[where.rsplit("/", 1)[-1]] += 1
lost = doubled = unfinished = in_doubt = sessions = 0
for line in open(sys.argv[1], encoding="utf-8"):
    session = json.loads(line)
    sessions += 1
    unfinished += session["state"] not in ("completed", "escalated")
    times = paid[session["session"]]
    doubled += times > 1
    for call in session["decisions"]:
        if call["tool"] != "pay":
            continue
        lost += call["outcome"] == "ok" and times == 0
        in_doubt += call["outcome"] == "escalated"
print(sessions, lost, doubled, unfinished, in_doubt)
