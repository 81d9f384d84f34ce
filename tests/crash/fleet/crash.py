"""crash.py AMBIT FOLDER: kills a fleet with -9 at random moments, AMBIT_KILLS times, takes its run up again each time, and counts
outside of the program what its tools did. FOLDER holds the fleet file and its inputs; the tools write a line of FOLDER/effects/log
an effect. Prints one line of JSON.

After every kill, before anything is started again, the record is read and held against the effects: what was done must have been
decided on record (else "unrecorded"), and who does the second thing has the outcome of the first one on record (else an acknowledged
step was lost: "stepsLost"). A payment that was under way when the program was killed is never guessed: its owner is asked ("inDoubt").
Here that is a script, which looks whether the payment is in the log of the effects and answers by `ambit approve` that it is done
("answeredDone") or is to be made after all ("answeredAgain"). At the end of a run: sessions that are missing ("sessionsLost"), that did not
complete ("unfinished"), that paid nobody ("lost") or twice ("doubled"). A kill comes after some time between MOMENTS, evenly over its
logarithm, so that most of the work is done between kills. Recovery: from the start of the program to the first action after its run.resumed."""
import collections
import datetime
import json
import math
import os
import random
import shutil
import subprocess
import sys
import threading
import time

ambit, folder = sys.argv[1:3]
kills_wanted = int(os.environ.get("AMBIT_KILLS", "500"))
seconds_most = float(os.environ.get("AMBIT_SECONDS", "590"))
agents = sum(1 for _ in open(folder + "/agents.jsonl", encoding="utf-8"))
dice = random.Random(int(os.environ.get("AMBIT_SEED", "1")))
state, effects_log, transcripts = folder + "/state", folder + "/effects/log", folder + "/transcripts"
MOMENTS = (0.02, 3.0)  # seconds
OWNER_LOOKS_EVERY = 0.1
begun = time.monotonic()
sums = collections.Counter()
recoveries = []


def effects():
    done = collections.defaultdict(collections.Counter)
    for line in open(effects_log, encoding="utf-8"):
        what, _, where = line.strip().partition(" ")
        done[what][where.rsplit("/", 1)[-1]] += 1
    return done


def records():
    """By type."""
    by_type = collections.defaultdict(list)
    if os.path.isdir(state + "/journal"):
        listed = subprocess.run([ambit, "audit", "list", "--state", state, "--json"], capture_output=True, text=True, check=False)
        for line in listed.stdout.splitlines():
            record = json.loads(line)
            by_type[record["type"]].append(record)
    return by_type


def seconds_of(text):
    whole, _, rest = text.rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(whole + "+00:00").timestamp()
    return moment + float("0." + (rest or "0"))


def check_record(by_type):
    """Read while nothing runs: no effect without its decision, no step without the one before it."""
    done = effects()
    decided = {(r["session"], r["body"]["tool"]) for r in by_type["action.decided"]}
    ended = {(r["session"], r["body"]["tool"]) for r in by_type["action.outcome"]}
    for what in ("pay", "look"):
        sums["unrecorded"] += sum((who, what) not in decided for who in done[what])
    sums["stepsLost"] += sum((who, "pay") not in ended for who in done["look"])


def first_action_after(moment, by_type):
    resumed = [seconds_of(r["time"]) for r in by_type["run.resumed"]]
    if not resumed or resumed[-1] < moment:
        return None
    later = [at for at in (seconds_of(r["time"]) for r in by_type["action.decided"]) if at >= resumed[-1]]
    return min(later) if later else None


class Owner(threading.Thread):
    """Answers what is asked while the program runs."""

    def __init__(self):
        super().__init__()
        self.gone = threading.Event()

    def run(self):
        while not self.gone.wait(OWNER_LOOKS_EVERY):
            listed = subprocess.run([ambit, "pending", "--state", state, "--json"], capture_output=True, text=True, check=False)
            for line in listed.stdout.splitlines():
                if not self.gone.is_set():
                    self.answer(json.loads(line))

    def answer(self, request):
        action = request["action"]
        is_done = action["tool"] == "pay" and effects()["pay"][action["session"]] > 0
        said = ["--done", "--reason", "it is in the log"] if is_done else ["--reason", "it is not in the log"]
        program = subprocess.run([ambit, "approve", request["id"], "--state", state, "--key", folder + "/eve.key", *said],
                                 capture_output=True, text=True, check=False)
        sums["answeredDone" if is_done else "answeredAgain"] += program.returncode == 0
        sums["unanswered"] += program.returncode != 0


def attempt(resume, may_kill):
    """Starts or goes on: whether it came to its end, and how to go on."""
    out = open(folder + "/out", "w", encoding="utf-8")
    err = open(folder + "/err", "w", encoding="utf-8")
    started = time.time()
    command = [ambit, "run", folder + "/fleet.json", "--state", state, *resume, "--transcripts", transcripts, "--json", "--quiet"]
    program = subprocess.Popen(command, stdout=out, stderr=err)
    owner = Owner()
    owner.start()
    if may_kill:
        try:
            program.wait(math.exp(dice.uniform(math.log(MOMENTS[0]), math.log(MOMENTS[1]))))
        except subprocess.TimeoutExpired:
            program.kill()
            sums["kills"] += 1
    code = program.wait()
    owner.gone.set()
    owner.join()
    if code not in (0, -9):
        raise SystemExit("the run failed: " + open(folder + "/err", encoding="utf-8").read())
    by_type = records()
    check_record(by_type)
    if resume:
        first = first_action_after(started, by_type)
        if first is not None:
            recoveries.append(1000 * (first - started))
    runs = by_type["run.started"]
    return code == 0, ["--resume", runs[0]["run"]] if runs else []


def count_run():
    paid = effects()["pay"]
    seen = 0
    for line in open(transcripts, encoding="utf-8"):
        session = json.loads(line)
        seen += 1
        times = paid[session["session"]]
        sums["unfinished"] += session["state"] != "completed"
        sums["doubled"] += times > 1
        sums["lost"] += times == 0
    sums["sessions"] += seen
    sums["sessionsLost"] += agents - seen


made = subprocess.run([ambit, "approver", "new", "eve", folder + "/eve.key"], capture_output=True, text=True, check=True)
open(folder + "/approvers", "w", encoding="utf-8").write(made.stdout)
while sums["kills"] < kills_wanted and time.monotonic() - begun < seconds_most:
    shutil.rmtree(state, ignore_errors=True)
    os.mkdir(state)
    shutil.copy(folder + "/approvers", state)
    open(effects_log, "w", encoding="utf-8").close()
    ended, resume = False, []
    while not ended:
        ended, resume = attempt(resume, sums["kills"] < kills_wanted)
    verified = subprocess.run([ambit, "audit", "verify", "--state", state], capture_output=True, text=True, check=False)
    sums["unverified"] += verified.returncode != 0
    sums["runs"] += 1
    sums["inDoubt"] += len(records()["approval.requested"])
    count_run()

recoveries.sort()
bad = {name: sums[name] for name in ("sessionsLost", "stepsLost", "lost", "doubled", "unfinished", "unrecorded", "unverified", "unanswered")}
late = sums["kills"] < kills_wanted
print(json.dumps({
    "suite": "crash fleet", "passed": sums["sessions"] - min(sums["sessions"], sum(bad.values())), "failed": sum(bad.values()) + late, "skipped": 0,
    "agents": agents, "kills": sums["kills"], "runs": sums["runs"], "sessions": sums["sessions"], **bad,
    **{name: sums[name] for name in ("inDoubt", "answeredDone", "answeredAgain")},
    "recoveries": len(recoveries),
    "recoveryMsMedian": round(recoveries[len(recoveries) // 2]) if recoveries else 0,
    "recoveryMsP99": round(recoveries[min(len(recoveries) - 1, len(recoveries) * 99 // 100)]) if recoveries else 0,
    "seconds": round(time.monotonic() - begun)}))
if late:
    print(f"only {sums['kills']} of {kills_wanted} kills fitted in {seconds_most:.0f} s", file=sys.stderr)
sys.exit(1 if sum(bad.values()) + late else 0)
