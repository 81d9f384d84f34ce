"""soak.py AMBIT FOLDER MINUTES: load on `ambit serve FOLDER/fleet/fleet.json`, and what it holds meanwhile. One line of JSON.

Sampled every second of the server and of every process that descends from it: anonymous memory (of the file-backed part the record is
the largest, and the kernel gives that back at will), processes and threads; and the server's own descriptors. Judged over the second half of the time, once
everything that is kept up to a bound has had time to fill (10,000 tasks: with fewer minutes, more of AMBIT_SOAK_RATE): a line through the samples (least squares) may rise, over that half, by at most
5 % of the median and a little more (4 MiB, 8 descriptors, 4 processes, 4 threads). Every request must have come to its end, and after the
load nothing but the server's own processes may be left."""
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
import uuid

ambit, folder, minutes = sys.argv[1], sys.argv[2], float(sys.argv[3])
TOKEN = "a-token-of-at-least-16-characters"
CALLERS = 8
RATE = float(os.environ.get("AMBIT_SOAK_RATE", "50"))  # requests a second, of all callers
MIX = [int(one) for one in os.environ.get("AMBIT_SOAK_MIX", "6,2,2,1").split(",")]  # a2a, mcp, openai, callers that hang up
SLACK = {"memoryKiB": 4096, "descriptors": 8, "processes": 4, "threads": 4}
log_path = folder + "/log"
server = subprocess.Popen([ambit, "serve", folder + "/fleet/fleet.json", "--listen", "127.0.0.1:0", "--state", folder + "/state"],
                          env={**os.environ, "AMBIT_TOKEN": TOKEN}, stderr=open(log_path, "w", encoding="utf-8"))
counts = {"a2a": 0, "mcp": 0, "openai": 0, "hungUp": 0}
failures = []
lock = threading.Lock()
stop = threading.Event()


def address():
    for _ in range(300):
        found = re.search(r"agent clerk at http://([^/]+)/", open(log_path, encoding="utf-8").read())
        if found:
            return found.group(1)
        if server.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit("the server did not come up: " + open(log_path, encoding="utf-8").read())


def post(connection, path, body, more=None):
    headers = {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json", **(more or {})}
    connection.request("POST", path, json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode("utf-8", "replace")


def a2a(connection, dice):
    message = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": "Work %d." % dice.randrange(10**9)}]}
    body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    status, text = post(connection, "/agents/clerk", body, {"A2A-Version": "1.0"})
    return status == 200 and "TASK_STATE_COMPLETED" in text, text


def mcp(connection, dice):
    start = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
             "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "soak", "version": "1"}}}
    accept = {"Accept": "application/json, text/event-stream"}
    connection.request("POST", "/agents/clerk/mcp", json.dumps(start),
                       {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json", **accept})
    answer = connection.getresponse()
    answer.read()
    session = {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"]} if answer.headers["Mcp-Session-Id"] else {}
    more = {**accept, **session, "MCP-Protocol-Version": "2025-11-25"}
    post(connection, "/agents/clerk/mcp", {"jsonrpc": "2.0", "method": "notifications/initialized"}, more)
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "look", "arguments": {}}}
    status, text = post(connection, "/agents/clerk/mcp", call, more)
    if session:
        connection.request("DELETE", "/agents/clerk/mcp", headers={"Authorization": "Bearer " + TOKEN, **more})
        connection.getresponse().read()
    return status == 200 and "seen" in text, text


def openai(connection, dice):
    body = {"model": "m", "messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
                                       {"role": "user", "content": "three"}, {"role": "assistant", "content": "four"},
                                       {"role": "user", "content": "%d" % dice.randrange(10**9)}]}
    status, text = post(connection, "/v1/chat/completions", body)
    return status == 200 and "done" in text, text


def hang_up(host, dice):
    connection = http.client.HTTPConnection(host, timeout=60)
    message = {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": "Work."}]}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage", "params": {"message": message}})
    connection.request("POST", "/agents/clerk", body, {"Authorization": "Bearer " + TOKEN, "Content-Type": "application/json", "A2A-Version": "1.0"})
    time.sleep(dice.uniform(0, 0.05))
    connection.close()


def caller(host, seed):
    dice = random.Random(seed)
    connection = http.client.HTTPConnection(host, timeout=60)
    while not stop.is_set():
        kind = dice.choices(["a2a", "mcp", "openai", "hungUp"], MIX)[0]
        begun = time.monotonic()
        try:
            if kind == "hungUp":
                hang_up(host, dice)
                good, said = True, ""
            else:
                good, said = {"a2a": a2a, "mcp": mcp, "openai": openai}[kind](connection, dice)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            good, said = False, repr(error)
        with lock:
            counts[kind] += 1
            if not good:
                failures.append(f"{kind}: {said[:300]}")
        if dice.random() < 0.05:
            connection.close()
        stop.wait(max(0.0, CALLERS / RATE - (time.monotonic() - begun)))


def family():
    parents = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            stat = open(f"/proc/{name}/stat", encoding="utf-8", errors="replace").read()
        except OSError:
            continue
        parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    mine = {server.pid}
    while True:
        more = {child for child, parent in parents.items() if parent in mine} - mine
        if not more:
            return mine
        mine |= more


def sample():
    sums = {"memoryKiB": 0, "descriptors": 0, "processes": 0, "threads": 0}
    for pid in family():
        try:
            status = open(f"/proc/{pid}/status", encoding="utf-8").read()
            # A jail's go with its process.
            sums["descriptors"] += len(os.listdir(f"/proc/{pid}/fd")) if pid == server.pid else 0
        except OSError:
            continue
        sums["processes"] += 1
        for key, field in (("memoryKiB", "RssAnon"), ("threads", "Threads")):
            found = re.search(field + r":\s*(\d+)", status)
            sums[key] += int(found.group(1)) if found else 0
    return sums


def rise(values):
    """What a line through the samples rises from the first to the last."""
    middle = (len(values) - 1) / 2
    mean = statistics.fmean(values)
    over = sum((i - middle) ** 2 for i in range(len(values)))
    slope = sum((i - middle) * (value - mean) for i, value in enumerate(values)) / over if over else 0
    return slope * (len(values) - 1)


host = address()
threads = [threading.Thread(target=caller, args=(host, seed), daemon=True) for seed in range(CALLERS)]
for one in threads:
    one.start()
samples = []
end = time.monotonic() + 60 * minutes
while time.monotonic() < end and server.poll() is None:
    time.sleep(1)
    samples.append(sample())
stop.set()
for one in threads:
    one.join(90)
time.sleep(5)
after = sample()
alive = server.poll() is None
server.terminate()
code = server.wait(60)
verified = subprocess.run([ambit, "audit", "verify", "--state", folder + "/state"], capture_output=True, check=False).returncode == 0
disk = sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(folder + "/state/journal") for name in names)

half = samples[len(samples) // 2:]
report, bad = {}, []
for key, slack in SLACK.items():
    values = [one[key] for one in half]
    median, risen = statistics.median(values), rise(values)
    report[key] = {"first": samples[0][key], "median": median, "most": max(one[key] for one in samples), "risen": round(risen, 1), "after": after[key]}
    if risen > 0.05 * median + slack:
        bad.append(key)
if failures:
    bad.append("requests")
for good, what in ((alive, "alive"), (code == 0, "drained"), (verified, "verified")):
    if not good:
        bad.append(what)
if after["processes"] > samples[0]["processes"] + SLACK["processes"]:
    bad.append("left")
checks = len(SLACK) + 5
print(json.dumps({"suite": "soak fleet", "passed": checks - len(bad), "failed": len(bad), "skipped": 0, "minutes": minutes, "samples": len(samples),
                  **counts, "failures": len(failures), "bad": bad, **report, "recordBytes": disk}))
for line in failures[:5]:
    print(line, file=sys.stderr)
sys.exit(1 if bad else 0)
