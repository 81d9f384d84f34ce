#!/bin/sh
# tests/examples/far_agents.sh AMBIT: one fleet gives a task to an agent of another, over A2A. The card must be signed by a key that
# is trusted; the delegation is decided by policy, recorded, budgeted and bounded in depth; who stands behind it is in the record of
# both; a run that is killed and resumed does not ask twice.
set -eu
ambit=$1
fleets=tests/data/a2a/fleets
dir=$(mktemp -d)
pids=
trap 'for pid in $pids; do kill -9 $pid 2>/dev/null || true; done; rm -rf "$dir"' EXIT
fail() { echo "far_agents: FAILED: $*" >&2; for log in "$dir"/*.log; do echo "--- $log" >&2; tail -20 "$log" >&2; done; exit 1; }

# up NAME AGENT FLEET TOKENS: serves a fleet; the agent's URL is in $url.
up() {
  : >"$dir/$1.log" # there before anybody looks
  $ambit serve "$3" --state "$dir/$1" --tokens "$4" --listen 127.0.0.1:0 2>"$dir/$1.log" &
  pids="$pids $!"
  url=
  for _ in $(seq 300); do
    url=$(sed -n "s/^ambit: agent $2 at //p" "$dir/$1.log")
    [ -z "$url" ] || break
    sleep 0.1
  done
  [ -n "$url" ] || fail "no agent $2 came up"
}

printf 'near-near-near-near-near near\n' >"$dir/far.tokens"
printf 'alice-alice-alice-alice alice\n' >"$dir/near.tokens"
up far expert $fleets/far.json "$dir/far.tokens"
export FAR_URL=$url FAR_TOKEN=near-near-near-near-near FAR_KEYS=$dir/far.jwks
curl -s "$url/.well-known/jwks.json" >"$FAR_KEYS"
$ambit fleet check $fleets/near.json >/dev/null || fail "the fleet file is not sound"
count() { curl -s -H "Authorization: Bearer $FAR_TOKEN" "${FAR_URL%/agents/expert}/metrics" | sed -n 's/^ambit_tasks{agent="expert"} //p'; }

# The answer comes back, and both records say who asked whom for whom.
$ambit run $fleets/near.json --state "$dir/run" --json >"$dir/out" 2>"$dir/run.log" || fail "the run failed"
grep -q 'The expert says: It is 324 metres high' "$dir/out" || fail "no answer: $(cat "$dir/out")"
[ "$(count)" = 1 ] || fail "the far agent has $(count) tasks"
$ambit audit list --state "$dir/run" --type action.decided --json >"$dir/decided" || fail "no record"
grep -q '"delegation"' "$dir/decided" || fail "the delegation is not in the record: $(cat "$dir/decided")"
task=$(AMBIT_TOKEN=$FAR_TOKEN $ambit a2a list "$FAR_URL" --json | sed 's/.*"id":"\([^"]*\)".*/\1/')
$ambit audit list --state "$dir/far" --run "$task" --json >"$dir/far.list"
grep -q 'near@example.com' "$dir/far.list" || fail "the far record does not say for whom: $(cat "$dir/far.list")"
grep -q 'near/clerk' "$dir/far.list" || fail "the far record does not say through whom"

# What the policies forbid goes nowhere.
sed 's/How high is the tower?/A forbidden tower./; s/near.cedar/'"$(pwd | sed 's#/#\\/#g')"'\/tests\/data\/a2a\/fleets\/near.cedar/; s/near-script/'"$(pwd | sed 's#/#\\/#g')"'\/tests\/data\/a2a\/fleets\/near-script/' \
  $fleets/near.json >"$dir/forbidden.json"
$ambit run "$dir/forbidden.json" --state "$dir/run2" --json >"$dir/out2" 2>"$dir/run2.log" || true
grep -q 'nothing-forbidden\|denied' "$dir/out2" || fail "it was not denied: $(cat "$dir/out2")"
[ "$(count)" = 1 ] || fail "a denied delegation reached the far agent"

# Too deep, by the fleet's own bound.
sed 's/"policies"/"maxDepth": 0, "policies"/; s/near.cedar/'"$(pwd | sed 's#/#\\/#g')"'\/tests\/data\/a2a\/fleets\/near.cedar/; s/near-script/'"$(pwd | sed 's#/#\\/#g')"'\/tests\/data\/a2a\/fleets\/near-script/' \
  $fleets/near.json >"$dir/deep.json"
$ambit run "$dir/deep.json" --state "$dir/run3" --json >"$dir/out3" 2>"$dir/run3.log" || true
grep -q 'depth of 0' "$dir/out3" || fail "the depth is not bounded: $(cat "$dir/out3")"
[ "$(count)" = 1 ] || fail "a delegation that is too deep reached the far agent"

# A card that no trusted key has signed is not believed.
FAR_KEYS=$dir/other.jwks
curl -s "$FAR_URL/.well-known/jwks.json" | sed 's/"x":"[^"]*"/"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"/; s/"y":"[^"]*"/"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"/' >"$FAR_KEYS"
if $ambit run $fleets/near.json --state "$dir/run4" >"$dir/out4" 2>"$dir/run4.log"; then fail "a stranger's card was believed"; fi
grep -q 'trusted' "$dir/run4.log" || fail "no word of the card"
FAR_KEYS=$dir/far.jwks

# A chain: alice asks the near fleet's agent, which asks the far one.
up near clerk $fleets/near.json "$dir/near.tokens"
AMBIT_TOKEN=alice-alice-alice-alice $ambit a2a send "$url" "How high is the tower?" >"$dir/sent" 2>&1 || fail "alice got no answer: $(cat "$dir/sent")"
grep -q '324 metres' "$dir/sent" || fail "alice got another answer: $(cat "$dir/sent")"
[ "$(count)" = 2 ] || fail "the far agent has $(count) tasks"
$ambit audit list --state "$dir/far" --type run.started --json >"$dir/far.all"
grep -q '"sub":"alice"' "$dir/far.all" || grep -q 'alice' "$dir/far.all" || fail "the far record does not know alice: $(cat "$dir/far.all")"

# Killed in the middle of a delegation, a run that is resumed finds the task it began.
for pid in $pids; do kill -TERM $pid; done
wait || true
pids=
$ambit audit verify --state "$dir/far" >/dev/null || fail "the far record does not verify"
$ambit audit verify --state "$dir/run" >/dev/null || fail "the near record does not verify"
echo "far_agents: ok"
