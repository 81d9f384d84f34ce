#!/bin/sh
# tests/examples/workflows.sh AMBIT: every workflow of examples/3-workflows as its user runs it: it comes to the answer that its script
# leads to, the record verifies, and the cost of the planner and of its executors can be told apart. Then what operates a fleet:
# a session that waits for a person, is found, approved and goes on; one that is stopped; a stop file; imports that run.
set -eu
ambit=$1
examples=examples/3-workflows
dir=$(mktemp -d)
pids=
trap 'for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done; rm -rf "$dir"' EXIT
fail() { echo "workflows: FAILED: $*" >&2; exit 1; }
state=$dir/state

expect() { # EXAMPLE ANSWER
  [ "$(wc -l <"$examples/$1.json")" -lt 80 ] || fail "$1 is longer than 80 lines"
  $ambit run "$examples/$1.json" --state "$state" --json --quiet >"$dir/out" || fail "$1: $(cat "$dir/out")"
  grep -qF "\"answer\":\"$2\"" "$dir/out" || fail "$1: no answer \"$2\" in $(cat "$dir/out")"
}
expect 1-single "Hello Ada!"
expect 2-sequential "La pluie tombe."
expect 3-parallel "Rejected: it never ends."
expect 4-map "12"
expect 5-supervisor "96 m, checked: yes"
expect 6-handoff "We will send a new invoice."
expect 7-group-chat "Then Monday. DONE"
expect 8-graph "printed: RAIN STOPS PLAY"
expect 9-plan-execute "ticket: the cache is full"
expect 10-roles "It rains."
# The drafter found out that the cheapest model is down; the editor did not ask it again.
$ambit audit list --state "$state" --type turn.completed --text '@writer' --json >"$dir/routes"
grep '"agent":"drafter"' "$dir/routes" | grep -q 'small could not answer' || fail "the drafter's route: $(cat "$dir/routes")"
grep '"agent":"editor"' "$dir/routes" | grep -q 'small failed lately' || fail "the editor's route: $(cat "$dir/routes")"
$ambit audit verify --state "$state" >/dev/null || fail "the record does not verify"
$ambit cost --state "$state" --by model | grep -q '^large ' || fail "no cost of the planner's model"
$ambit cost --state "$state" --by agent --json | grep -q '"agent":"planner"' || fail "no cost of the planner"
$ambit audit list --state "$state" --type session.started --json | grep -q '"parent":"main"' || fail "no parent in the record"
$ambit describe main --state "$state" | grep -q '^policies ' || fail "describe"
$ambit logs --state "$state" --last 3 | [ "$(wc -l)" -eq 3 ] || fail "logs"

# A first fleet, and people who are asked.
$ambit init "$dir/first" >/dev/null
$ambit run "$dir/first/fleet.json" --state "$dir/s1" --quiet --json | grep -q '"state":"completed"' || fail "the first fleet does not run"
if $ambit init "$dir/first" 2>/dev/null; then fail "init overwrote a fleet"; fi
cat >"$dir/first/fleet.cedar" <<'CEDAR'
permit (principal, action == Action::"model_call", resource);
@advice("escalate") @reason("Somebody must look first.")
permit (principal, action == Action::"tool_call", resource);
CEDAR
mkdir -p "$dir/s2"
$ambit approver new eve "$dir/eve.key" >"$dir/s2/approvers"
code=0
$ambit run "$dir/first/fleet.json" --state "$dir/s2" --quiet --json --park >"$dir/parked" || code=$?
[ "$code" -eq 4 ] || fail "a run that waits for people ended with $code: $(cat "$dir/parked")"
run=$($ambit audit list --state "$dir/s2" --type run.started --json | grep -o '"run":"[^"]*"' | head -1 | cut -d'"' -f4)
$ambit describe main --state "$dir/s2" | grep -q 'waiting for approval' || fail "it does not say that it waits"
request=$($ambit pending --state "$dir/s2" --json | grep -o '"id":"[0-9a-f]*"' | head -1 | cut -d'"' -f4)
[ -n "$request" ] || fail "nothing is pending"
$ambit approve "$request" --state "$dir/s2" --key "$dir/eve.key" --reason "looks good" >/dev/null
$ambit run "$dir/first/fleet.json" --state "$dir/s2" --resume "$run" --quiet --json >"$dir/resumed" || fail "it does not go on"
grep -q '"state":"completed"' "$dir/resumed" || fail "approved, it did not complete: $(cat "$dir/resumed")"
$ambit audit list --state "$dir/s2" --run "$run" --type approval.answered --json | grep -q '"by":"eve"' || fail "the record does not say who"

# Live: a session that waits is seen, and stopped from outside; a stop file stops and keeps from starting.
$ambit run "$dir/first/fleet.json" --state "$dir/s2" --quiet --json >"$dir/live" 2>&1 &
pids="$pids $!"
for _ in $(seq 100); do
  $ambit ps --state "$dir/s2" --in waiting | grep -q '^main ' && break
  sleep 0.1
done
$ambit ps --state "$dir/s2" --json | grep -q '"state":"waiting"' || fail "ps does not show it"
$ambit top --state "$dir/s2" >"$dir/top" 2>&1 && grep -q "1 sessions live" "$dir/top" || fail "top: $(cat "$dir/top")"
$ambit stop main --state "$dir/s2" --reason "enough" | grep -q '1 session ' || fail "stop"
wait "${pids##* }" || true
grep -q '"state":"stopped"' "$dir/live" || fail "not stopped: $(cat "$dir/live")"
$ambit audit list --state "$dir/s2" --type control.stop --json | grep -q enough || fail "the stop is not recorded"
$ambit run "$dir/first/fleet.json" --state "$dir/s2" --quiet --json >"$dir/live" 2>&1 &
pids="$pids $!"
for _ in $(seq 100); do
  $ambit ps --state "$dir/s2" --in waiting | grep -q '^main ' && break
  sleep 0.1
done
touch "$dir/s2/stop"
wait "${pids##* }" || true
grep -q '"state":"stopped"' "$dir/live" || fail "the stop file did nothing: $(cat "$dir/live")"
if $ambit run "$dir/first/fleet.json" --state "$dir/s2" --quiet 2>"$dir/err"; then fail "it started beside a stop file"; fi
grep -q 'remove it to go on' "$dir/err" || fail "no word of how to go on"

# Other hosts' files.
for file in mcp.json claude.md agent_spec.json docker_agent.yaml; do
  $ambit import "tests/data/import/$file" --out "$dir/$file.d" --model "$PWD/tests/data/import/script.json" 2>/dev/null >/dev/null ||
    fail "$file cannot be imported"
  $ambit fleet check "$dir/$file.d/fleet.json" >/dev/null || fail "$file: the fleet is not sound"
done
$ambit run "$dir/claude.md.d/fleet.json" --state "$dir/s3" --quiet --json | grep -q '"state":"completed"' || fail "the Claude agent does not run"
$ambit run "$dir/agent_spec.json.d/fleet.json" --state "$dir/s3" --quiet --json | grep -q '"state":"completed"' || fail "the Open Agent Spec agent does not run"
$ambit completion bash | bash -n || fail "the completion is no shell script"
$ambit man | grep -q 'ambit workflow\|ambit run' || fail "man"
echo "workflows: ten examples, an approval, two stops and four imports"
