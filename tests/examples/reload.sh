#!/bin/sh
# tests/examples/reload.sh AMBIT: a fleet file that changes while it is served. The difference is told before and recorded after; new
# conversations are of the new file and an old one goes on with its own; what needs a restart, and a file with a mistake, are refused by
# name, and then nothing at all has changed; the record says which file each session began with.
set -eu
ambit=$1
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
fail() { echo "reload: FAILED: $*" >&2; [ ! -s "$dir/log" ] || cat "$dir/log" >&2; exit 1; }
state=$dir/state
mkdir "$dir/fleet"
fleet=$dir/fleet/fleet.json
write() { # GREETER'S INSTRUCTIONS, MORE OF THE GREETER, MORE AGENTS, MODEL'S SCRIPT, TOOLS
  cat >"$fleet" <<JSON
{
  "name": "served",
  "models": {"m": {"provider": "scripted", "model": "$4"}},
  "tools": {${5:-}},
  "agents": {"greeter": {"model": "m", "instructions": "$1", "a2a": {} $2} $3},
  "policies": ["open.cedar"],
  "workflow": {"agent": "greeter", "prompt": "Hello."}
}
JSON
}
echo 'permit (principal, action == Action::"model_call", resource);' >"$dir/fleet/open.cedar"
cat >"$dir/fleet/script.json" <<'JSON'
[{"system": "formal", "say": "Good day."}, {"system": "short", "say": "Hi."}, {"say": "What?"}]
JSON
cp "$dir/fleet/script.json" "$dir/fleet/other.json"
write "Be formal." "" "" script.json
echo 'aaaaaaaaaaaaaaaaaaaa alice' >"$dir/tokens"
: >"$dir/log" # there before anybody looks
$ambit serve "$fleet" --state "$state" --tokens "$dir/tokens" --listen 127.0.0.1:0 2>"$dir/log" &
pid=$!
url=
for _ in $(seq 300); do
  url=$(sed -n 's/^ambit: agent greeter at //p' "$dir/log")
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "$url" ] || fail "no agent came up"
export AMBIT_TOKEN=aaaaaaaaaaaaaaaaaaaa
say() { $ambit a2a send "$url" "Hello" "$@" --json; }

say --context old >"$dir/answer" || fail "no answer"
grep -q 'Good day' "$dir/answer" || fail "$(cat "$dir/answer")"
# A change, told first and then made.
write "Be short." ', "limits": {"maxTurns": 3}' ', "helper": {"model": "m"}' script.json
$ambit reload --state "$state" --dry-run >"$dir/told" || fail "the dry run"
grep -q 'nothing was changed' "$dir/told" || fail "$(cat "$dir/told")"
grep -qF 'agents.greeter.instructions: "Be formal." -> "Be short."' "$dir/told" || fail "$(cat "$dir/told")"
grep -qF 'agents.greeter.limits: added' "$dir/told" && grep -qF 'agents.helper: added' "$dir/told" || fail "$(cat "$dir/told")"
say --context before >"$dir/answer"
grep -q 'Good day' "$dir/answer" || fail "a dry run changed something: $(cat "$dir/answer")"
[ -z "$($ambit audit list --state "$state" --type fleet.reloaded --json)" ] || fail "a dry run is on the record"
$ambit reload --state "$state" --by ada | grep -qF '"Be short."' || fail "the reload does not tell what changed"
say --context new >"$dir/answer"
grep -q 'Hi\.' "$dir/answer" || fail "a new conversation is of the old file: $(cat "$dir/answer")"
say --context old >"$dir/answer"
grep -q 'Good day' "$dir/answer" || fail "an old conversation is of the new file: $(cat "$dir/answer")"
$ambit audit list --state "$state" --type fleet.reloaded --json >"$dir/reloaded"
grep -q '"by":"ada"' "$dir/reloaded" && grep -q 'agents.helper: added' "$dir/reloaded" || fail "the record: $(cat "$dir/reloaded")"
editions=$($ambit audit list --state "$state" --type session.started --json | grep -o '"definition":"[0-9a-f]*"' | sort -u | wc -l)
[ "$editions" -eq 2 ] || fail "sessions of $editions fleet files in the record"
# Nothing changed: policies alone are read.
$ambit reload --state "$state" --json | grep -q '"changes":\[\]' || fail "a change where there is none"
# What needs a restart is refused by name, with all that came with it.
refused() { # WHAT THE MESSAGE HOLDS
  if $ambit reload --state "$state" >"$dir/out" 2>&1; then fail "taken over: $(cat "$fleet")"; fi
  grep -qF "$1" "$dir/out" || fail "no \"$1\" in: $(cat "$dir/out")"
  say >"$dir/answer"
  grep -q 'Hi\.' "$dir/answer" || fail "half of it was done: $(cat "$dir/answer")"
}
write "Be formal." "" "" other.json
refused 'models.m.model (models are opened at the start)'
write "Be formal." ', "descripton": "x"' "" script.json
refused 'descripton'
write "Be formal." "" ', "second": {"model": "m", "a2a": {}}' script.json
refused 'agents.second (doors are opened at the start)'
write "Be formal." "" "" script.json
echo 'permit (principal' >"$dir/fleet/open.cedar"
refused 'the policies stay as they were'
echo 'permit (principal, action == Action::"model_call", resource);' >"$dir/fleet/open.cedar"
[ "$($ambit audit list --state "$state" --type fleet.refused --json | wc -l)" -eq 3 ] || fail "the refusals are not on the record"
# MCP clients are offered the tools of the new file, and those of the old one are gone.
mcp() { $ambit mcp "$1" "$url/mcp" --header "Authorization: Bearer $AMBIT_TOKEN" $2; }
say_tool='"shout": {"description": "Say it aloud", "command": ["echo", "${text}"],
  "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}'
mcp list "" >"$dir/out"
! grep -q shout "$dir/out" || fail "a tool of no fleet file: $(cat "$dir/out")"
write "Be short." ', "limits": {"maxTurns": 3}, "tools": ["shout"]' ', "helper": {"model": "m"}' script.json "$say_tool"
$ambit reload --state "$state" >"$dir/told"
grep -qF 'tools.shout: added' "$dir/told" || fail "$(cat "$dir/told")"
mcp list "" >"$dir/out"
grep -q 'Say it aloud' "$dir/out" || fail "MCP clients are not offered the new tool: $(cat "$dir/out")"
write "Be short." ', "limits": {"maxTurns": 3}' ', "helper": {"model": "m"}' script.json
$ambit reload --state "$state" >"$dir/told"
mcp list "" >"$dir/out"
! grep -q shout "$dir/out" || fail "the tool is still offered: $(cat "$dir/out")"
if mcp call shout >"$dir/out" 2>&1; then fail "the tool can still be called: $(cat "$dir/out")"; fi
grep -qF 'there is no tool "shout"' "$dir/out" || fail "$(cat "$dir/out")"
write "Be formal." "" "" script.json
# A signal does the same.
kill -HUP "$pid"
for _ in $(seq 100); do
  say >"$dir/answer"
  grep -q 'Good day' "$dir/answer" && break
  sleep 0.1
done
grep -q 'Good day' "$dir/answer" || fail "SIGHUP read nothing: $(cat "$dir/answer")"
kill -TERM "$pid"
wait "$pid" || fail "it did not end well"
pid=
$ambit audit verify --state "$state" >/dev/null || fail "the record does not verify"

echo "reload: a change told, made, refused four times, by a signal"
