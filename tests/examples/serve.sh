#!/bin/sh
# tests/examples/serve.sh AMBIT: a fleet's agent as other agents meet it. The card is there for everybody and nothing else is; a
# report sent over A2A comes to its end; a message sent twice is done once; what waits for a person says so; a conversation goes on;
# the server drains when it is told to stop; and what was done is in the record, from which it can be replayed.
set -eu
ambit=$1
fleet=examples/1-incident-desk/fleet.json
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
fail() { echo "serve: FAILED: $*" >&2; [ ! -s "$dir/log" ] || cat "$dir/log" >&2; exit 1; }

if $ambit serve $fleet --state "$dir/state" 2>"$dir/refused"; then fail "it served without a token"; fi
grep -q AMBIT_TOKEN "$dir/refused" || fail "no word of how to name a caller"
printf 'aaaaaaaaaaaaaaaaaaaa alice\nbbbbbbbbbbbbbbbbbbbb bob # a second caller\n' >"$dir/tokens"
: >"$dir/log" # there before anybody looks
$ambit serve $fleet --state "$dir/state" --tokens "$dir/tokens" --listen 127.0.0.1:0 2>"$dir/log" &
pid=$!
url=
for _ in $(seq 300); do
  url=$(sed -n 's/^ambit: agent clerk at //p' "$dir/log")
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "$url" ] || fail "no agent came up"
root=${url%/agents/clerk}

[ "$(curl -s "$root/healthz")" = ok ] || fail "not healthy"
[ "$(curl -s -o /dev/null -w '%{http_code}' "$root/metrics")" = 401 ] || fail "metrics for everybody"
[ "$(curl -s -o /dev/null -w '%{http_code}' "$url/tasks")" = 401 ] || fail "tasks for everybody"
$ambit a2a card "$root" | grep -q 'clerk' || fail "no card"
# Who knows only the host finds its MCP servers.
card=$(curl -s "$root/.well-known/ai-catalog.json" | sed -n 's/.*"url":"\([^"]*\)".*/\1/p')
[ "$card" = "$url/mcp/server-card" ] || fail "the catalogue leads to $card"
curl -s "$card" | grep -q "\"url\":\"$url/mcp\"" || fail "the server card: $(curl -s "$card")"
[ "$(curl -s "$root/mcp/server-card")" = "$(curl -s "$card")" ] || fail "the card at the root is another one"
if AMBIT_TOKEN=wrong $ambit a2a send "$url" hi 2>"$dir/err"; then fail "a wrong token was good"; fi

export AMBIT_TOKEN=aaaaaaaaaaaaaaaaaaaa
report=$(head -1 examples/1-incident-desk/reports.jsonl)
$ambit a2a send "$url" --data "$report" --message-id one --json >"$dir/one" || fail "the report was not worked"
grep -q '"state":"TASK_STATE_COMPLETED"' "$dir/one" || fail "not completed: $(cat "$dir/one")"
task=$(sed 's/^{"id":"\([^"]*\)".*/\1/' "$dir/one")
$ambit a2a send "$url" --data "$report" --message-id one --json >"$dir/again" || fail "sent again, it failed"
cmp "$dir/one" "$dir/again" || fail "sent again, it is another task"
$ambit a2a get "$url" "$task" --json | cmp - "$dir/one" || fail "the task is another one when asked for"
$ambit a2a stream "$url" --data "$report" --json >"$dir/stream" || fail "the stream failed"
grep -q artifactUpdate "$dir/stream" || fail "no artifact in the stream"
[ "$($ambit a2a list "$url" | tail -1)" = "2 of 2 tasks" ] || fail "the list: $($ambit a2a list "$url")"
AMBIT_TOKEN=bbbbbbbbbbbbbbbbbbbb $ambit a2a list "$url" | grep -q '^0 of 0' || fail "bob sees alice's tasks"
if AMBIT_TOKEN=bbbbbbbbbbbbbbbbbbbb $ambit a2a get "$url" "$task" 2>"$dir/err"; then fail "bob read it"; fi
if $ambit a2a cancel "$url" "$task" 2>"$dir/err"; then fail "an ended task was cancelled"; fi
curl -s -H "Authorization: Bearer $AMBIT_TOKEN" "$root/metrics" | grep -q '^ambit_tasks{agent="clerk"} 2' || fail "metrics"

# The card is signed, by a key that the server gives.
curl -s "$url/.well-known/jwks.json" >"$dir/jwks"
$ambit a2a card "$url" --trust "$dir/jwks" | grep -q '^signed by' || fail "the card is not signed"

# Killed, it loses no task; the same message is still done once.
kill -9 $pid
wait $pid || true
: >"$dir/log" # there before anybody looks
$ambit serve $fleet --state "$dir/state" --tokens "$dir/tokens" --listen "${root#http://}" 2>"$dir/log" &
pid=$!
for _ in $(seq 300); do
  ! grep -q '^ambit: serving' "$dir/log" || break
  sleep 0.1
done
$ambit a2a get "$url" "$task" --json | cmp - "$dir/one" || fail "after a kill -9 the task is another one"
$ambit a2a send "$url" --data "$report" --message-id one --json | cmp - "$dir/one" || fail "after a kill -9 it is done again"
[ "$($ambit a2a list "$url" | tail -1)" = "2 of 2 tasks" ] || fail "after a kill -9: $($ambit a2a list "$url")"
$ambit a2a card "$url" --trust "$dir/jwks" >/dev/null || fail "after a restart it signs with another key"

# What a person must approve waits for one; what was said is known in the next message of the context.
risky=$(grep -m1 production examples/1-incident-desk/reports.jsonl)
$ambit a2a send "$url" --data "$risky" --context talk >"$dir/risky" || fail "the risky report was not worked"
grep -q auth-required "$dir/risky" || fail "nobody is asked: $(cat "$dir/risky")"
grep -q ops@example.com "$dir/risky" || fail "no word of who may approve"
$ambit a2a send "$url" "and now?" --context talk --json >"$dir/next" || fail "the conversation does not go on"
next=$(sed 's/^{"id":"\([^"]*\)".*/\1/' "$dir/next")

kill -TERM $pid
wait $pid || fail "it did not end well"
pid=
grep -q draining "$dir/log" || fail "it did not drain"
$ambit audit verify --state "$dir/state" || fail "the record does not verify"
$ambit audit list --state "$dir/state" --run "$task" | grep -q session.ended || fail "the task's run is not in the record"
$ambit audit list --state "$dir/state" --run "$next" --type session.started --json | grep -q '"tainted":true.*"earlier"' ||
  fail "the next message does not know what was said before"
for run in "$task" "$next"; do
  $ambit replay "$run" --fleet $fleet --state "$dir/state" | grep -q identical || fail "task $run is another one when replayed"
done
echo "serve: three reports and a conversation over A2A, kept through a kill -9, in the record, and replayed to the same tokens"
