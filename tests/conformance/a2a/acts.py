"""Runs the A2A project's ACTS cases (YAML) against an agent, over JSON-RPC or REST; raw steps over HTTP as they stand.

acts.py URL FOLDER BINDING [KNOWN]: prints a line of JSON. A case that does not apply (another transport, a capability
that the card lacks, a client's case) is skipped. KNOWN has a line "CASE reason" for each case that contradicts the
specification it is to test, or asks for what the agent does not have; such a case is counted apart as excused, and
failing no longer is told as well.
"""
import json, os, re, sys, time, urllib.error, urllib.request, uuid
import yaml

URL, FOLDER, BINDING = sys.argv[1:4]
KNOWN = {}
if len(sys.argv) > 4:
    for line in open(sys.argv[4]):
        if line.strip() and not line.startswith("#"):
            name, _, why = line.strip().partition(" ")
            KNOWN[name] = why
METHODS = {
    "send_message": "SendMessage", "send_streaming_message": "SendStreamingMessage", "get_task": "GetTask",
    "list_tasks": "ListTasks", "cancel_task": "CancelTask", "subscribe_to_task": "SubscribeToTask",
    "get_extended_agent_card": "GetExtendedAgentCard",
    "set_push_notification_config": "CreateTaskPushNotificationConfig",
    "create_push_config": "CreateTaskPushNotificationConfig",
    "get_push_notification_config": "GetTaskPushNotificationConfig",
    "list_push_notification_configs": "ListTaskPushNotificationConfigs",
    "delete_push_notification_config": "DeleteTaskPushNotificationConfig",
}
# JSON-RPC code, HTTP status of 1.0.1.
ERRORS = {
    "TaskNotFoundError": (-32001, 404), "TaskNotCancelableError": (-32002, 400),
    "PushNotificationNotSupportedError": (-32003, 400), "UnsupportedOperationError": (-32004, 400),
    "ContentTypeNotSupportedError": (-32005, 400), "VersionNotSupportedError": (-32009, 400),
    "ExtensionSupportRequiredError": (-32008, 400), "InvalidParamsError": (-32602, 400),
    "JSONParseError": (-32700, 400), "MethodNotFoundError": (-32601, 404), "InternalError": (-32603, 500),
}
ABSENT = object()


class Failed(Exception):
    pass


def fetch(method, path, headers, body):
    request = urllib.request.Request(path if path.startswith("http") else URL + path, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, dict(response.headers), response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def parse(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def events_of(text):
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def rest_call(method, params):
    params = dict(params)
    task = params.pop("taskId", None) or params.get("id")
    get = {"GetTask": f"/tasks/{task}", "ListTasks": "/tasks", "GetExtendedAgentCard": "/extendedAgentCard",
           "ListTaskPushNotificationConfigs": f"/tasks/{task}/pushNotificationConfigs",
           "GetTaskPushNotificationConfig": f"/tasks/{task}/pushNotificationConfigs/{params.get('id')}"}
    post = {"SendMessage": "/message:send", "SendStreamingMessage": "/message:stream", "CancelTask": f"/tasks/{task}:cancel",
            "SubscribeToTask": f"/tasks/{task}:subscribe",
            "CreateTaskPushNotificationConfig": f"/tasks/{task}/pushNotificationConfigs"}
    if method == "DeleteTaskPushNotificationConfig":
        return "DELETE", f"/tasks/{task}/pushNotificationConfigs/{params.get('id')}", None
    if method in get:
        query = "&".join(f"{k}={json.dumps(v) if isinstance(v, bool) else v}" for k, v in params.items() if k != "id" and method in ("GetTask", "ListTasks"))
        return "GET", get[method] + ("?" + query if query else ""), None
    return "POST", post[method], params if method.startswith("Send") or method.startswith("Create") else {}


def operate(name, params):
    """(result or None, error or None, events or None, HTTP status)."""
    headers = {"A2A-Version": "1.0", "Content-Type": "application/json"}
    if name == "get_agent_card":
        status, _, text = fetch("GET", "/.well-known/agent-card.json", headers, None)
        return parse(text), None, None, status
    method = METHODS[name]
    if name.endswith("push_notification_config") or name.endswith("configs"):
        inner = params.pop("pushNotificationConfig", None)
        if inner:
            params.update(inner)
        if name.startswith("list") and "id" in params and "taskId" not in params:
            params["taskId"] = params.pop("id")
    if BINDING == "JSONRPC":
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        status, seen, text = fetch("POST", "/", headers, json.dumps(body).encode())
        if "event-stream" in seen.get("Content-Type", ""):
            events = events_of(text)
            return None, None, [event.get("result", event) for event in events], status
        answer = parse(text)
        return answer.get("result"), answer.get("error"), None, status
    verb, path, body = rest_call(method, params)
    status, seen, text = fetch(verb, path, headers, None if body is None else json.dumps(body).encode())
    if "event-stream" in seen.get("Content-Type", ""):
        return None, None, events_of(text), status
    answer = parse(text)
    if status >= 400:
        return None, answer.get("error", answer), None, status
    return answer, None, None, status


def at_path(value, path):
    for key in re.findall(r"[^.\[\]]+", path or ""):
        if isinstance(value, list):
            value = value[int(key)] if key.isdigit() and int(key) < len(value) else ABSENT
        elif isinstance(value, dict):
            value = value.get(key, ABSENT)
        else:
            return ABSENT
    return value


OPERATORS = {"type", "exists", "absent", "contains", "matches", "starts_with", "ends_with", "gte", "lte", "gt", "lt",
             "count", "count_gte", "count_lte", "one_of", "all_of", "any_of", "not", "items"}
KINDS = {"string": str, "number": (int, float), "boolean": bool, "array": list, "object": dict, "null": type(None)}


def check(want, have, where):
    if isinstance(want, dict) and want and set(want) <= OPERATORS:
        for operator, operand in want.items():
            check_operator(operator, operand, have, where)
    elif isinstance(want, dict):
        if not isinstance(have, dict) and want:
            raise Failed(f"{where}: is {short(have)}, wanted an object")
        for key, inner in want.items():
            check(inner, have.get(key, ABSENT), f"{where}.{key}")
    elif isinstance(want, list):
        if not isinstance(have, list) or len(have) < len(want):
            raise Failed(f"{where}: is {short(have)}, wanted {len(want)} items")
        for number, inner in enumerate(want):
            check(inner, have[number], f"{where}[{number}]")
    elif have is ABSENT or have != want:
        raise Failed(f"{where}: is {short(have)}, wanted {want!r}")


def passes(want, have):
    try:
        check(want, have, "")
        return True
    except Failed:
        return False


def check_operator(operator, operand, have, where):
    count = len(have) if isinstance(have, list) else -1
    number = have if isinstance(have, (int, float)) else float("nan")
    text = have if isinstance(have, str) else ""
    good = {
        "type": lambda: have is not ABSENT and isinstance(have, KINDS[operand]) and not (operand == "number" and isinstance(have, bool)),
        "exists": lambda: (have is not ABSENT) == bool(operand), "absent": lambda: (have is ABSENT) == bool(operand),
        "contains": lambda: operand in (have if isinstance(have, (str, list)) else ""),
        "matches": lambda: re.search(operand, text) is not None, "starts_with": lambda: text.startswith(operand),
        "ends_with": lambda: text.endswith(operand), "gte": lambda: number >= operand, "lte": lambda: number <= operand,
        "gt": lambda: number > operand, "lt": lambda: number < operand, "count": lambda: count == operand,
        "count_gte": lambda: count >= operand, "count_lte": lambda: 0 <= count <= operand,
        "one_of": lambda: any(passes(one, have) for one in operand), "any_of": lambda: any(passes(one, have) for one in operand),
        "all_of": lambda: all(passes(one, have) for one in operand), "not": lambda: not passes(operand, have),
        # One assertion: for each; a list of them: for the items in their places.
        "items": lambda: isinstance(have, list) and (
            len(have) >= len(operand) and all(passes(one, have[number]) for number, one in enumerate(operand))
            if isinstance(operand, list) else all(passes(operand, one) for one in have)),
    }[operator]()
    if not good:
        raise Failed(f"{where}: is {short(have)}, wanted {operator} {operand!r}")


def short(value):
    return "absent" if value is ABSENT else json.dumps(value)[:200]


def fill(value, names):
    if isinstance(value, dict):
        return {key: fill(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, names) for inner in value]
    if not isinstance(value, str):
        return value

    def one(found):
        name = found.group(1).strip()
        if name == "$uuid":
            return str(uuid.uuid4())
        if name.startswith("env."):
            return os.environ.get(name[4:], "")
        if name not in names:
            raise Failed(f"nobody captured {name}")
        return str(names[name])

    return re.sub(r"\{\{(.+?)\}\}", one, value)


def snake(name):
    return re.sub(r"([A-Z])", lambda found: "_" + found.group(1).lower(), name)


PAYLOADS = ("task", "message", "status_update", "artifact_update")


def check_event(want, event, where):
    """What names no kind of event is about whatever the event holds."""
    inner = next((event[key] for key in PAYLOADS if key in event), {})
    for key, one in want.items():
        holder = event if key in event or key in PAYLOADS or key in OPERATORS else inner
        check({key: one}, event if key in OPERATORS else holder, where)


def is_event(want, event):
    try:
        check_event(want, event, "")
        return True
    except Failed:
        return False


def check_stream(want, events):
    events = [{snake(key): value for key, value in event.items()} for event in events]
    if len(events) < want.get("min_count", 0):
        raise Failed(f"{len(events)} events, wanted {want['min_count']}")
    if want.get("ordering") == "monotonic_state":
        ended = False
        for event in events:
            state = at_path(event.get("status_update") or event.get("task") or {}, "status.state")
            if state is ABSENT:
                continue
            if ended:
                raise Failed(f"{state} after the end")
            ended = state in ("TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED")
    for one in want.get("events", []):
        kinds = {key: inner for key, inner in one.items() if key not in ("description", "match", "index")}
        if one.get("match") == "any_position":
            if not any(is_event(kinds, event) for event in events):
                raise Failed(f"no event is {kinds}")
        else:
            check_event(kinds, events[one.get("index", 0)], "event")
    if "final_event" in want:
        check_event(want["final_event"], events[-1] if events else {}, "final event")
    for event in events if "each_event" in want else []:
        check_event(want["each_event"], event, "event")


def check_error(want, error, status, where):
    names = want.get("error_type", want.get("code"))
    names = names["one_of"] if isinstance(names, dict) else [names]
    if error is None:
        raise Failed(f"{where}: succeeded, wanted {names}")
    seen = error.get("code")
    if names != [None] and not any(seen in ERRORS.get(name, (name,)) for name in names):
        raise Failed(f"{where}: error {seen} (HTTP {status}), wanted {names}")
    if "message" in want:
        check(want["message"], error.get("message", ABSENT), "message")


def run_step(step, names):
    where = step["id"]
    if "raw" in step:
        raw = fill(step["raw"], names)
        body = raw.get("body_raw")
        if body is None and raw.get("body") is not None:
            body = json.dumps(raw["body"])
        headers = {key: str(value) for key, value in (raw.get("headers") or {}).items()}
        if body is not None and not any(key.lower() == "content-type" for key in headers):
            headers["Content-Type"] = "application/json"
        status, _, text = fetch(raw["method"], raw["path"], headers, body.encode() if body is not None else None)
        answer = parse(text)
        error = answer.get("error") if isinstance(answer, dict) else None
        result, events = answer, None
    else:
        params = fill(step.get("params") or {}, names)
        if isinstance(params.get("message"), dict):
            params["message"].setdefault("messageId", str(uuid.uuid4()))
            for key in ("taskId", "contextId"):
                if key in params and key not in params["message"]:
                    params["message"][key] = params.pop(key)
        result, error, events, status = operate(step["operation"], params)
    if "expect_error" in step:
        return check_error(step["expect_error"], error, status, where), result, events
    want = fill(step.get("expect") or {}, names)
    if "raw" not in step and (want.get("status") == "error" or "error" in want):
        check(want.get("error", {}), ABSENT if error is None else error, where + " error")
        return error, result, events
    if "raw" not in step and error is not None:
        raise Failed(f"{where}: {short(error)}")
    if "status" in want and ("raw" in step or BINDING != "JSONRPC"):
        check(want["status"], status, where + " status")
    for key in want:
        if key == "body":
            check(want["body"], result if result is not None else {}, where)
        elif key != "status":
            check(want[key], (result or {}).get(key, ABSENT), f"{where}.{key}")
    if "expect_stream" in step:
        check_stream(fill(step["expect_stream"], names), events or [])
    return None, result, events


def until(expression, result):
    path, operator, value = re.match(r"(\S+)\s+(==|!=|in)\s+(.+)", expression).groups()
    have = at_path(result, path)
    if operator == "in":
        return have in [one.strip() for one in value.strip("[] ").split(",")]
    return (str(have) == value.strip("'\"")) == (operator == "==")


def run_case(case, names):
    for step in case["steps"]:
        if step.get("delay_ms"):
            time.sleep(step["delay_ms"] / 1000)
        repeat = step.get("repeat")
        for attempt in range(repeat.get("max_attempts", 10) if repeat else 1):
            _, result, events = run_step(step, names)
            if not repeat or until(repeat["until"], result):
                break
            time.sleep(repeat.get("delay_ms", 1000) / 1000)
        else:
            raise Failed(f"{step['id']}: never {repeat['until']}")
        for name, path in (step.get("capture") or {}).items():
            value = at_path(result if result is not None else (events or [{}])[0], path)
            if value is ABSENT and events:
                found = [at_path(event, path) for event in events if at_path(event, path) is not ABSENT]
                value = found[0] if found else ABSENT
            if value is ABSENT:
                raise Failed(f"{step['id']}: nothing at {path}")
            names[f"{step['id']}.{name}"] = names[name] = value


def skip_reason(case, card):
    transports = case.get("transport")
    transports = [transports] if isinstance(transports, str) else transports
    names = {"JSONRPC": ("jsonrpc", "json-rpc"), "HTTP+JSON": ("rest", "http_json", "http+json", "http")}[BINDING]
    if transports and not any(str(one).lower() in names for one in transports):
        return "transport"
    for key, value in (case.get("preconditions") or {}).get("capabilities", {}).items():
        if card.get("capabilities", {}).get(key, False) != value:
            return "capability " + key
    if any("client_response" in step for step in case["steps"]):
        return "a client's"
    return None


def main():
    card, _, _, _ = operate("get_agent_card", {})
    passed, skipped, failures, known = 0, 0, [], []
    for name in sorted(os.listdir(FOLDER)):
        if not name.endswith(".acts.yaml"):
            continue
        document = yaml.safe_load(open(os.path.join(FOLDER, name)))
        for suite in document.get("suites", []):
            for case in suite["tests"]:
                if skip_reason(case, card):
                    skipped += 1
                    continue
                names = {"webhookUrl": "https://example.com/hooks/acts", **(document.get("variables") or {}), "baseUrl": URL}
                try:
                    run_case(case, names)
                    passed += 1
                    if case["id"] in KNOWN:
                        print(f"{case['id']}: passes, but is listed as excused", file=sys.stderr)
                except Exception as fault:
                    text = f"{case['id']} ({case['level']}): {fault}"
                    (known if case["id"] in KNOWN else failures).append(text)
    for text in failures:
        print(text, file=sys.stderr)
    print(json.dumps({"suite": f"a2a ACTS {BINDING}", "passed": passed, "failed": len(failures), "skipped": skipped,
                      "excused": len(known), "failures": [text.split(" ")[0] for text in failures]}))
    sys.exit(1 if failures else 0)


main()
