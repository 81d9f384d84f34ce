# Sourced by ./check conformance a2a: the A2A project's TCK (its repository a2aproject/a2a-tck, named by A2A_TCK, with
# the branches 1.0-dev and 0.3.0-beta-x) against our test agent, on every binding, and prints a line of JSON a suite:
#   {"suite": "a2a 1.0.1 jsonrpc", "passed": 90, "failed": 0, "skipped": 5, "failures": []}
# Before it, the official SDK as client and as server (tests/a2a/interop_test.cpp).
# The TCK has the error table of 1.0.0; its copy in build/ gets that of 1.0.1, where five numbers differ. A requirement
# is counted once a binding. What each test saw lies in build/tck. Nothing of the TCK is part of this repository.
tck=${A2A_TCK:-}
out=build/tck
python=/usr/bin/python3

skip() {
  echo "skipped: $*" >&2
  echo '{"suite":"a2a","passed":0,"failed":0,"skipped":1}'
  exit ${status:-0}
}
status=0
mkdir -p "$out"
# The official SDK, both ways, on every binding and version: a line a direction, binding and version.
if [ -z "${A2A_INTEROP:-}" ]; then
  for package in @a2a-js/sdk@1.3.0 express@5 @grpc/grpc-js@1 @bufbuild/protobuf@2; do peer_package "$package"; done
  release_targets interop_test
fi
"${A2A_INTEROP:-build/release/tests/a2a/interop_test}" >"$out-interop.txt" 2>&1 || status=1
awk '/^(ok|FAILED) (sdk->ours|ours->sdk|both)/ { name = $2 == "both" ? "both" : $2 " " $3 " " $4
    all[name]++; if ($1 == "FAILED") { bad[name]++; sub(/^FAILED /, ""); print > "/dev/stderr" } }
  END { for (name in all) printf "{\"suite\":\"a2a interop %s\",\"passed\":%d,\"failed\":%d,\"skipped\":0}\n",
    name, all[name] - bad[name], bad[name] }' "$out-interop.txt" | sort
grep -q '^ok ' "$out-interop.txt" || echo "skipped: the interop with @a2a-js/sdk; see $out-interop.txt" >&2
[ -n "$tck" ] || skip "the A2A TCK; set A2A_TCK to a clone of a2aproject/a2a-tck"
install python3-pytest python3-httpx python3-grpcio python3-protobuf python3-pytest-asyncio python3-responses \
  python3-deepdiff python3-dotenv python3-yaml python3-openssl python3-jsonschema python3-jinja2 python3-requests \
  protobuf-compiler protobuf-compiler-grpc openssl >&2
command -v node >/dev/null || install nodejs >&2
peer_package google-proto-files@5.0.1
protos=$PWD/build/npm/node_modules/google-proto-files
[ -d "$protos" ] || skip "the A2A TCK: no google-proto-files from npm"
# A2A_TCK_AGENT names an agent that is built already.
agent_program=${A2A_TCK_AGENT:-build/release/tests/conformance/tck_agent}
[ -n "${A2A_TCK_AGENT:-}" ] || release_targets tck_agent
rm -rf "$out"
mkdir -p "$out/lib"

# branch NAME FOLDER: a copy of one branch.
branch() {
  mkdir -p "$out/$2"
  for ref in "$1" "origin/$1"; do
    if git -C "$tck" archive "$ref" 2>/dev/null | tar -x -C "$out/$2" 2>/dev/null && [ -d "$out/$2/tests" ]; then return; fi
  done
  skip "the A2A TCK: $tck has no branch $1"
}
branch 1.0-dev 1.0
branch 0.3.0-beta-x 0.3
# Messages for the protobuf that Debian has, and those of google that Debian lacks.
protoc -I "$protos" --python_out "$out/lib" "$protos"/google/api/annotations.proto "$protos"/google/api/http.proto \
  "$protos"/google/api/client.proto "$protos"/google/api/field_behavior.proto "$protos"/google/api/launch_stage.proto \
  "$protos"/google/rpc/status.proto "$protos"/google/rpc/error_details.proto
plugin=--plugin=protoc-gen-grpc_python=$(command -v grpc_python_plugin)
protoc -I "$protos" -I "$out/1.0/specification" --python_out "$out/1.0/specification/generated" \
  --grpc_python_out "$out/1.0/specification/generated" "$plugin" "$out/1.0/specification/a2a.proto"
protoc -I "$protos" -I "$out/0.3" --python_out "$out/0.3/tck/grpc_stubs" --grpc_python_out "$out/0.3/tck/grpc_stubs" \
  "$plugin" "$out/0.3/a2a.proto"
# One module under both of its names: registered twice it is refused. google.* of ours beside google.protobuf of Debian's.
cat >"$out/lib/sitecustomize.py" <<'PY'
import importlib, os, sys
import google
google.__path__.append(os.path.join(os.path.dirname(__file__), "google"))
class Alias:
    def find_spec(self, name, path=None, target=None):
        for package in ("specification.generated", "tck.grpc_stubs"):
            for module in ("a2a_pb2", "a2a_pb2_grpc"):
                if name == f"{package}.{module}":
                    sys.modules[name] = importlib.import_module(module)
                    return sys.modules[name].__spec__
sys.meta_path.insert(0, Alias())
PY
sed -i 's/^minversion = .*/minversion = "7.0"/' "$out/1.0/pyproject.toml" "$out/0.3/pyproject.toml"
# The error table of 1.0.1.
"$python" - "$out/1.0/tck/requirements/base.py" <<'PY'
import re, sys
path = sys.argv[1]
text = open(path).read()
def patch(name, **members):
    global text
    block = re.search(name + r"_ERROR = ErrorBinding\(.*?\n\)", text, re.S).group(0)
    new = block
    for key, value in members.items():
        new = re.sub(key + r"=[^,]+,", f"{key}={value!r},".replace("'", '"'), new)
    text = text.replace(block, new)
patch("TASK_NOT_CANCELABLE", http_status=400)
patch("PUSH_NOTIFICATION_NOT_SUPPORTED", grpc_status="FAILED_PRECONDITION")
patch("UNSUPPORTED_OPERATION", grpc_status="FAILED_PRECONDITION")
patch("CONTENT_TYPE_NOT_SUPPORTED", http_status=400)
patch("INVALID_AGENT_RESPONSE", http_status=500)
patch("VERSION_NOT_SUPPORTED", grpc_status="FAILED_PRECONDITION")
open(path, "w").write(text)
PY

# agent PROGRAM ARGUMENT...: starts it; its URL is in $url.
agent() {
  rm -f "$out/url"
  "$@" >"$out/url" 2>"$out/agent.log" &
  server=$!
  trap 'kill $server 2>/dev/null || true' EXIT
  tries=0
  while [ ! -s "$out/url" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || die "the agent did not start: $out/agent.log"
    sleep 0.1
  done
  url=$(cat "$out/url")
}

# pytest FOLDER LOG PATH ARGUMENT...
pytest() {
  folder=$1 log=$2 path=$3
  shift 3
  (
    cd "$out/$folder"
    lib=$(cd ../lib && pwd)
    [ "$folder" = 1.0 ] && stubs=$PWD/specification/generated || stubs=$PWD/tck/grpc_stubs
    PYTHONPATH=$lib:$stubs:$PWD timeout 900 "$python" -m pytest "$path" -q --tb=short -p no:cacheprovider \
      -rA --junitxml="$log.xml" "$@"
  ) >"$out/$log.log" 2>&1 || true
  [ -s "$out/$folder/$log.xml" ] || { tail -20 "$out/$log.log" >&2; echo "the TCK did not run: $out/$log.log" >&2; }
}

# score SUITE FOLDER LOG: a line of JSON from what pytest wrote.
score() {
  "$python" - "$1" "$out/$2/$3.xml" <<'PY'
import json, sys, xml.etree.ElementTree as tree
suite, path = sys.argv[1:]
passed = skipped = 0
failures = []
try:
    cases = list(tree.parse(path).iter("testcase"))
except Exception:
    cases = []
for case in cases:
    kinds = {child.tag for child in case}
    if "failure" in kinds or "error" in kinds:
        failures.append(case.get("classname", "").split(".")[-1] + "." + case.get("name", ""))
    elif "skipped" in kinds:
        skipped += 1
    else:
        passed += 1
print(json.dumps({"suite": suite, "passed": passed, "failed": len(failures), "skipped": skipped, "failures": failures}))
sys.exit(0 if passed and not failures else 1)
PY
}

agent "$agent_program"
bindings=$("$python" -c '
import json, sys, urllib.request
card = json.load(urllib.request.urlopen(sys.argv[1] + "/.well-known/agent-card.json"))
print(*(one["protocolBinding"] for one in card["supportedInterfaces"]))' "$url")
pytest 1.0 all tests/compatibility/ --sut-host="$url" --compatibility-report=report
score "a2a 1.0.1, tests" 1.0 all || status=1
# The TCK's own account, by requirement: what MUST be decides.
"$python" - "$out/1.0/report.json" <<'PY' || status=1
import json, sys
rows = json.load(open(sys.argv[1]))["per_requirement"]
bad = 0
for level in ("MUST", "SHOULD", "MAY"):
    for transport in ("agent_card", "jsonrpc", "http_json", "grpc"):
        seen = {name: row["transports"][transport].upper() for name, row in rows.items()
                if row["level"] == level and transport in row["transports"]}
        if not seen:
            continue
        failures = sorted(name for name, status in seen.items() if status == "FAIL")
        bad += len(failures) if level == "MUST" else 0
        print(json.dumps({"suite": f"a2a 1.0.1 {transport}, {level}",
            "passed": sum(status == "PASS" for status in seen.values()), "failed": len(failures),
            "skipped": sum(status not in ("PASS", "FAIL") for status in seen.values()), "failures": failures}))
sys.exit(1 if bad else 0)
PY
# The ACTS cases of the same project, where A2A_ACTS names their folder.
if [ -n "${A2A_ACTS:-}" ]; then
  for binding in JSONRPC HTTP+JSON; do
    timeout 600 "$python" tests/conformance/a2a/acts.py "$url" "$A2A_ACTS" "$binding" tests/conformance/a2a/acts_known.txt || status=1
  done
else
  echo "skipped: the ACTS cases; set A2A_ACTS to their folder" >&2
fi
kill $server 2>/dev/null || true
wait $server 2>/dev/null || true
# A2A 0.3 wants https: TLS ends at a proxy in front of an agent, here as there, with a certificate that the TCK trusts.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.2 \
  -addext subjectAltName=IP:127.0.0.2 -keyout "$out/key.pem" -out "$out/certificate.pem" 2>/dev/null
certificate=$PWD/$out/certificate.pem
export SSL_CERT_FILE="$certificate" REQUESTS_CA_BUNDLE="$certificate" GRPC_DEFAULT_SSL_ROOTS_FILE_PATH="$certificate"
agent node tests/conformance/a2a/tls_front.mjs "$agent_program" "$out/certificate.pem" "$out/key.pem"
grpc=
case $bindings in *GRPC*) grpc=grpc ;; esac
# The selections are those of the TCK's own runner (run_tck.py): what it calls mandatory, and its capabilities, decide.
for binding in jsonrpc rest $grpc; do
  path=tests/mandatory/protocol/ marks=mandatory_protocol
  [ "$binding" != jsonrpc ] || path=tests/mandatory/ marks="mandatory_jsonrpc or mandatory_protocol"
  pytest 0.3 "mandatory-$binding" "$path" -m "$marks" --sut-url="$url" --test-scope=all --transports="$binding"
  score "a2a 0.3 mandatory-$binding" 0.3 "mandatory-$binding" || status=1
  for category in capabilities multi_transport quality features; do
    name=$category-$binding
    pytest 0.3 "$name" "tests/optional/$category/" --sut-url="$url" --test-scope=all --transports="$binding"
    # Quality and features decide nothing there, and so not here.
    if [ $category = capabilities ]; then
      score "a2a 0.3 $name" 0.3 "$name" || status=1
    else
      score "a2a 0.3 $name" 0.3 "$name" || true
    fi
  done
done
exit $status
