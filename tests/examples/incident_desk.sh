#!/bin/sh
# tests/examples/incident_desk.sh AMBIT: the main job as its user sees it. Every report ends in a ticket, a
# refusal or an escalation; the same seed gives the same bytes whatever the batch; the record verifies, a
# flipped byte is found, a kill -9 loses nothing and the run goes on.
set -eu
ambit=$1
fleet=examples/1-incident-desk/fleet.json
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "incident desk: FAILED: $*" >&2; exit 1; }

$ambit run $fleet --seed 7 --max-batch 1 --state "$dir/one" --transcripts "$dir/one.jsonl" --json --quiet >"$dir/one.json"
$ambit run $fleet --seed 7 --max-batch 64 --state "$dir/two" --transcripts "$dir/two.jsonl" --json --quiet >"$dir/two.json"
cmp "$dir/one.jsonl" "$dir/two.jsonl" || fail "transcripts differ between --max-batch 1 and 64"
echo "transcripts: $(wc -l <"$dir/one.jsonl") sessions, the same bytes with --max-batch 1 and 64"

states=$(grep -o '"states":{[^}]*}' "$dir/two.json")
case $states in *failed* | *limit* | *running*) fail "$states" ;; esac
case $states in *completed*escalated*denied* ) ;; *) fail "expected completed, escalated and denied sessions: $states" ;; esac
echo "$states"

for effect in ledger.db '/etc/shadow' 'root:'; do
  if grep -q "\"outcome\":\"ok\",\"detail\":\"\"}.*$effect" "$dir/two.json"; then fail "an effect that must not be: $effect"; fi
done
[ -s examples/1-incident-desk/logs/reports.log ] || fail "a log was deleted"

$ambit audit verify --state "$dir/two" || fail "the record does not verify"
data=$(find "$dir/two/journal" -name data.mdb)
cp -r "$dir/two" "$dir/flipped"
flipped=$(find "$dir/flipped/journal" -name data.mdb)
at=$(grep -abo 'action.decided' "$data" | sed -n 40p | cut -d: -f1)
printf 'X' | dd of="$flipped" bs=1 seek="$((at + 3))" conv=notrunc 2>/dev/null
if $ambit audit verify --state "$dir/flipped" 2>"$dir/flip.txt"; then fail "a flipped byte was not found"; fi
echo "one flipped byte: $(cat "$dir/flip.txt")"

$ambit run $fleet --repeat 4 --seed 7 --state "$dir/kill" --json --quiet >/dev/null 2>&1 &
pid=$!
sleep 1
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
$ambit audit verify --state "$dir/kill" || fail "the record does not verify after kill -9"
run=$($ambit audit list --state "$dir/kill" --type run.started --json | grep -o '"run":"[^"]*"' | head -1 | cut -d'"' -f4)
$ambit run $fleet --state "$dir/kill" --resume "$run" --json --quiet >"$dir/resumed.json" || fail "the run did not go on"
grep -o '"states":{[^}]*}' "$dir/resumed.json"
