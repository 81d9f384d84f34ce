#!/bin/sh
# tests/examples/governance.sh AMBIT: what a fleet file says of its bounds, as the program keeps it: facts about tools reach the policies
# and the record, people whom a policy names are asked until its deadline, agents have keys and act for a person, what must not be
# recorded is not, policies are read again while a fleet runs, evaluate-only refuses nothing, and all of it replays.
set -eu
ambit=$1
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
fail() { echo "governance: FAILED: $*" >&2; exit 1; }
fleet=$dir/fleet.json
cat >"$dir/script.json" <<'JSON'
[
  {"system": "lead", "turn": 1, "call": {"name": "agent__clerk", "arguments": {"task": "Pay eve@example.org."}}},
  {"system": "lead", "say": "done"},
  {"system": "pay", "turn": 1, "call": {"name": "remember", "arguments": {"text": "eve"}}},
  {"system": "pay", "turn": 2, "call": {"name": "pay", "arguments": {"iban": "DE89370400440532013000", "amount": 12}}},
  {"system": "pay", "say": "paid ${last}"}
]
JSON
cat >"$fleet" <<'JSON'
{
  "name": "office",
  "models": {"m": {"provider": "scripted", "model": "script.json"}},
  "tools": {
    "pay": {"description": "Pays.", "command": ["echo", "paid"], "inputSchema": {"type": "object", "properties": {"iban": {"type": "string"}, "amount": {"type": "integer"}}}},
    "remember": {"description": "Remembers.", "command": ["true"], "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}
  },
  "toolFacts": {"pay": {"risk": "high", "reversibility": "irreversible"}, "remember": {"effect": "memory_write", "risk": "low"}},
  "agents": {
    "chief": {"model": "m", "instructions": "You lead.", "owner": "ada", "subAgents": ["clerk"], "autonomyLevel": 2},
    "clerk": {"model": "m", "instructions": "You pay.", "owner": "ada", "tools": ["pay", "remember"], "autonomyLevel": 4}
  },
  "approvals": {"expireAfter": "1h", "levels": [{"after": "10m", "people": ["*"]}]},
  "record": {"redact": [{"of": "arguments", "tool": "pay", "paths": ["iban"]}, {"of": "*", "patterns": ["email"]}]},
  "policies": ["p.cedar"],
  "workflow": {"agent": "chief", "prompt": "Go."}
}
JSON
cat >"$dir/p.cedar" <<'CEDAR'
@id("may") permit (principal, action, resource) when { principal.autonomyLevel <= 2 };
@id("ask") @advice("escalate") @reason("What cannot be undone is asked about.") @approvers("1 of eve, max") @deadline("30m")
forbid (principal, action == Action::"tool_call", resource) when { resource.risk == "high" };
CEDAR
$ambit fleet check "$fleet" >/dev/null || fail "the fleet file is not sound"
state=$dir/state
mkdir -p "$state"
for who in ada eve max; do $ambit approver new $who "$dir/$who.key" >>"$state/approvers"; done
$ambit run "$fleet" --state "$state" --principal max --json --quiet >"$dir/out" 2>"$dir/err" &
pid=$!
request=
for _ in $(seq 200); do
  request=$($ambit pending --state "$state" --json 2>/dev/null | grep -o '"id":"[0-9a-f]\{32\}"' | head -1 | cut -d'"' -f4) || true
  [ -z "$request" ] || break
  sleep 0.1
done
[ -n "$request" ] || fail "nobody was asked: $(cat "$dir/err")"

# Policies are read again meanwhile: a bad set changes nothing, a good one is recorded with its hash.
cp "$dir/p.cedar" "$dir/good"
echo 'permit (principal' >"$dir/p.cedar"
if $ambit reload --state "$state" --by ada >"$dir/reload" 2>&1; then fail "policies that do not parse were taken"; fi
grep -q 'stay as they were' "$dir/reload" || fail "no word of the refused policies: $(cat "$dir/reload")"
{ cat "$dir/good"; echo '@id("more") permit (principal, action == Action::"egress", resource);'; } >"$dir/p.cedar"
$ambit reload --state "$state" --by ada | grep -q '3 policies, set [0-9a-f]\{64\}' || fail "the policies were not read again"

# The owner is not among those whom the policy names, and max asked for the run.
approve() { $ambit approve "$request" --state "$state" --key "$dir/$1.key" --reason "seen"; }
if approve ada >/dev/null 2>&1; then fail "ada answered, whom the policy does not name"; fi
if approve max >/dev/null 2>&1; then fail "max answered his own request"; fi
approve eve >/dev/null || fail "eve cannot answer"
wait "$pid" || fail "the run failed: $(cat "$dir/out" "$dir/err")"
pid=
grep -q '"outcome":"ok"' "$dir/out" || fail "nobody was delegated to: $(cat "$dir/out")"

list() { $ambit audit list --state "$state" --json "$@"; }
run=$(list --type run.started | grep -o '"run":"[^"]*"' | head -1 | cut -d'"' -f4)
bodies() { for index in $(list --type "$1" | grep -o '"index":[0-9]*' | cut -d: -f2); do $ambit audit show "$index" --state "$state" --json; echo; done; }
bodies action.outcome | grep '"tool":"pay"' | grep -q '"outcome":"ok"' || fail "it did not pay: $(bodies action.outcome)"
bodies action.decided >"$dir/decided"
grep -q '"risk":"high"' "$dir/decided" || fail "the risk of a tool is not in the record"
grep -q '"kind":"memory_write"' "$dir/decided" || fail "a tool that remembers is no memory_write"
grep -q '"requester":"max"' "$dir/decided" || fail "who asked is not in the record"
grep -q '"instance":"' "$dir/decided" || fail "no action names its instance"
grep -q 'DE8937' "$dir/decided" && fail "the account number is in the record"
bodies turn.completed | grep -q 'DE8937' && fail "the account number is in what the model said"
bodies session.started | grep -q 'eve@example.org' && fail "the address is in the record"
grep -q '"redacted":\["arguments.iban"\]' "$dir/decided" || fail "the record does not say what was left out"
bodies identity.issued >"$dir/identities"
[ "$(grep -c '"tokenHash"' "$dir/identities")" -eq 2 ] || fail "two agents have not two identities: $(cat "$dir/identities")"
bodies policy.loaded | grep -q '"by":"ada"' || fail "no record of who loaded policies"
bodies policy.refused | grep -q '"reason"' || fail "no record of the policies that were refused"
[ "$(list --type approval.refused | grep -c '"index"')" -eq 2 ] || fail "the refused answers are not in the record"
$ambit audit verify --state "$state" >/dev/null || fail "the record does not verify"

# A replay decides by what was recorded; what was redacted is left out and said.
cp "$dir/good" "$dir/p.cedar"
$ambit replay "$run" --state "$state" --fleet "$fleet" --policy "$dir/good" >"$dir/replay" || fail "replay: $(cat "$dir/replay")"
grep -q 'identical' "$dir/replay" || fail "the same policies decide otherwise: $(cat "$dir/replay")"
grep -q 'rest on what was redacted' "$dir/replay" || fail "it does not say what it left out: $(cat "$dir/replay")"
{ cat "$dir/good"; echo '@id("forget") forbid (principal, action == Action::"memory_write", resource);'; } >"$dir/other"
$ambit replay "$run" --state "$state" --fleet "$fleet" --policy "$dir/other" >"$dir/replay" || fail "replay: $(cat "$dir/replay")"
grep -q 'decisions would be others' "$dir/replay" || fail "a changed policy changes nothing: $(cat "$dir/replay")"

# Evaluate-only: nothing is refused, and the record says what would have been.
sed 's/"policies"/"evaluateOnly": true, "policies"/' "$fleet" >"$dir/watch.json"
echo 'permit (principal, action == Action::"model_call", resource);' >"$dir/p.cedar"
$ambit run "$dir/watch.json" --state "$dir/watch" --json --quiet >"$dir/out" || fail "evaluate-only refused something: $(cat "$dir/out")"
state=$dir/watch
bodies action.decided | grep -q '"would":"deny"' || fail "the record does not say what would have been"
echo "governance: facts, people, identities, redaction, reload, replay and evaluate-only"
