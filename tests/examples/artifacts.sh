#!/bin/sh
# tests/examples/artifacts.sh AMBIT: a result that is too large for a conversation, as its user meets it: the agent reads its beginning and
# then its end, the record keeps it whole and once, by the hash of its bytes; it goes with its subject's key.
set -eu
ambit=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "artifacts: FAILED: $*" >&2; exit 1; }
# As a tool's output is read: without the end of its last line.
printf %s "$(seq 1 20000)" >"$dir/numbers"
sum=$(sha256sum <"$dir/numbers" | cut -d' ' -f1)
cat >"$dir/fleet.json" <<FLEET
{
  "name": "artifacts",
  "models": {"m": {"provider": "scripted", "model": "script.json"}},
  "profiles": {"long": {"extends": "compute", "output": "1MiB"}},
  "tools": {"count": {"description": "Count", "command": ["seq", "1", "20000"], "profile": "long", "annotations": {"readOnlyHint": true}}},
  "artifacts": {"maxBytes": "1MiB", "maxTotal": "4MiB"},
  "agents": {"clerk": {"model": "m", "tools": ["count", "artifact__read"], "limits": {"maxTokens": 1000000}}},
  "policies": ["open.cedar"],
  "workflow": {"agent": "clerk", "inputs": "people.jsonl", "subject": "\${id}", "prompt": "Count for \${id}."}
}
FLEET
cat >"$dir/script.json" <<SCRIPT
[
  {"turn": 1, "call": {"name": "count"}},
  {"turn": 2, "call": {"name": "count"}},
  {"turn": 3, "call": {"name": "artifact__read", "arguments": {"artifact": "sha256:$sum", "offset": 108880}}},
  {"say": "\${last}"}
]
SCRIPT
echo 'permit (principal, action, resource);' >"$dir/open.cedar"
echo '{"id": "ada"}' >"$dir/people.jsonl"
state=$(mktemp -d)
trap 'rm -rf "$dir" "$state"' EXIT
"$ambit" run "$dir/fleet.json" --state "$state" --json --quiet >"$dir/out" || fail "$(cat "$dir/out")"
grep -qF '19999\n20000' "$dir/out" || fail "the end was not read: $(cat "$dir/out")"
[ "$("$ambit" artifact list --state "$state" | wc -l)" -eq 1 ] || fail "kept: $("$ambit" artifact list --state "$state")"
"$ambit" artifact list --state "$state" --json | grep -q "\"artifact\":\"sha256:$sum\",\"bytes\":108893,\"tool\":\"count\"" ||
  fail "listed as $("$ambit" artifact list --state "$state" --json)"
"$ambit" artifact get "$(printf '%.12s' "$sum")" --state "$state" | cmp - "$dir/numbers" || fail "it is not what the tool gave"
if "$ambit" artifact get abc --state "$state" 2>"$dir/err"; then fail "an artifact that there is not"; fi
grep -q "keeps no artifact sha256:abc" "$dir/err" || fail "$(cat "$dir/err")"
"$ambit" audit verify --state "$state" >/dev/null || fail "the record does not verify"
"$ambit" audit erase --subject ada --reason "she asked for it" --state "$state" >/dev/null || fail "ada could not be erased"
if "$ambit" artifact get "$sum" --state "$state" >"$dir/gone" 2>"$dir/err"; then fail "it is still there"; fi
grep -q "its subject was erased" "$dir/err" || fail "$(cat "$dir/err")"
"$ambit" audit verify --state "$state" >/dev/null || fail "the record does not verify after the erasure"
if "$ambit" audit expire --by ann --state "$state" 2>"$dir/err"; then fail "something expires, and nobody has said when"; fi
grep -q "ambit audit retain --days" "$dir/err" || fail "$(cat "$dir/err")"
"$ambit" audit retain --days 1 --by ann --reason "the contract" --state "$state" >/dev/null || fail "nothing is kept"
"$ambit" audit expire --dry-run --json --state "$state" | grep -q '"dryRun":true,"payloads":0,' || fail "what is young would expire"
"$ambit" audit expire --by ann --state "$state" >"$dir/out" || fail "nothing can expire: $(cat "$dir/out")"
grep -q '^0 payloads' "$dir/out" || fail "what is young has expired: $(cat "$dir/out")"
"$ambit" audit verify --state "$state" >/dev/null || fail "the record does not verify after the expiry"
echo "artifacts: one of 108893 bytes, read on, printed and erased"
