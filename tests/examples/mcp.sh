#!/bin/sh
# tests/examples/mcp.sh AMBIT: the MCP commands as their users see them: a fleet's server asked by hand, and the
# desk's own tools offered to a client on stdin and stdout, under the desk's policies and in its record.
set -eu
ambit=$(realpath "$1")
export REGISTRY_SERVER="${REGISTRY_SERVER:-$(dirname "$ambit")/registry-server}"
fleet=examples/1-incident-desk/fleet.json
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "mcp: FAILED: $*" >&2; exit 1; }
has() { grep -qF -- "$2" "$1" || fail "expected \"$2\" in: $(cat "$1")"; }

"$ambit" mcp list registry --fleet $fleet >"$dir/list"
has "$dir/list" lookup_service
"$ambit" mcp inspect registry --fleet $fleet --json >"$dir/inspect"
has "$dir/inspect" '"protocolVersion":"2026-07-28"'
"$ambit" mcp ping registry --fleet $fleet >"$dir/ping"
has "$dir/ping" 'answered in'
"$ambit" mcp call registry lookup_service service=checkout --fleet $fleet >"$dir/call"
has "$dir/call" team-blue
code=0
"$ambit" mcp call registry lookup_service service=7 --fleet $fleet >"$dir/out" 2>&1 || code=$?
[ $code -eq 1 ] || fail "wrong arguments gave $code: $(cat "$dir/out")"
for wrong in 'registri' 'http://127.0.0.1:1/mcp'; do
  code=0
  "$ambit" mcp list "$wrong" --fleet $fleet >"$dir/out" 2>"$dir/err" || code=$?
  [ $code -eq 1 ] && [ "$(wc -l <"$dir/err")" -eq 1 ] || fail "$wrong gave $code: $(cat "$dir/err")"
done
echo "mcp: a server of the fleet was listed, asked and pinged by hand"

# say ID METHOD PARAMS: one modern request.
say() {
  printf '{"jsonrpc":"2.0","id":%s,"method":"%s","params":{%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}\n' "$1" "$2" "$3"
}
# Answers come in any order: wait until all are there, then end the input, which ends the server.
{
  say 1 tools/list ''
  say 2 tools/call '"name":"mcp__registry__lookup_service","arguments":{"service":"checkout"},'
  say 3 tools/call '"name":"delete_file","arguments":{"path":"logs/search.log"},'
  say 4 tools/call '"name":"restart_service","arguments":{"service":"checkout","environment":"production"},'
  tries=0
  while [ "$(grep -c '"jsonrpc"' "$dir/serve" 2>/dev/null || true)" != 4 ] && [ $tries -lt 300 ]; do
    tries=$((tries + 1))
    sleep 0.1
  done
} | { "$ambit" mcp serve clerk --fleet $fleet --state "$dir/state" --principal ann 2>"$dir/err" || echo $? >"$dir/code"; } |
  cat >"$dir/serve"
[ ! -e "$dir/code" ] || fail "mcp serve: $(cat "$dir/err")"
for expected in '"name":"search_log"' 'team-blue' 'denied by policy: Nothing is ever deleted at the desk.' 'waiting for approval'; do
  has "$dir/serve" "$expected"
done
[ -s examples/1-incident-desk/logs/search.log ] || fail "a log was deleted"
"$ambit" audit verify --state "$dir/state" >"$dir/verify" || fail "the record does not verify: $(cat "$dir/verify")"
"$ambit" audit list --state "$dir/state" --verdict deny >"$dir/denied"
has "$dir/denied" delete_file
echo "mcp: the desk's tools were served: one call done, one denied, one waits for a person; the record verifies"

# The fleet's servers behind one endpoint: pinned when first seen, withheld once they change, let through by name.
export AMBIT_TOKEN=0123456789abcdef0123
: >"$dir/log" # there before anybody looks
"$ambit" mcp gateway $fleet --listen 127.0.0.1:0 --pins "$dir/pins" 2>"$dir/log" &
gateway=$!
trap 'kill $gateway 2>/dev/null || true; rm -rf "$dir"' EXIT
url=
for _ in $(seq 100); do
  url=$(sed -n 's/^ambit: gateway at //p' "$dir/log")
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "$url" ] || fail "no gateway came up: $(cat "$dir/log")"
bearer="Authorization: Bearer $AMBIT_TOKEN"
for era in modern legacy; do
  "$ambit" mcp list "$url" --era $era --header "$bearer" >"$dir/list"
  has "$dir/list" mcp__registry__lookup_service
  "$ambit" mcp call "$url" mcp__registry__lookup_service service=checkout --era $era --header "$bearer" >"$dir/call"
  has "$dir/call" team-blue
done
if "$ambit" mcp list "$url" >"$dir/out" 2>"$dir/err"; then fail "the gateway answers strangers"; fi
kill $gateway
wait $gateway || fail "the gateway did not end well: $(cat "$dir/log")"
has "$dir/pins" mcp__registry__lookup_service
"$ambit" mcp gateway $fleet --pins "$dir/pins" --quarantine >"$dir/out"
has "$dir/out" 'nothing is withheld'
sed 's/\("mcp__registry__lookup_service":"\)[0-9a-f]*/\10000/' "$dir/pins" >"$dir/other" && cp "$dir/other" "$dir/pins"
"$ambit" mcp gateway $fleet --pins "$dir/pins" --quarantine >"$dir/out" 2>&1
has "$dir/out" 'mcp__registry__lookup_service  has changed'
"$ambit" mcp gateway $fleet --pins "$dir/pins" --approve mcp__registry__lookup_service >"$dir/out" 2>&1
has "$dir/out" 'approved mcp__registry__lookup_service'
"$ambit" mcp gateway $fleet --pins "$dir/pins" --quarantine >"$dir/out"
has "$dir/out" 'nothing is withheld'
echo "mcp: the fleet's servers behind a gateway: listed and called in both eras, a changed tool withheld and let through by name"

# Who sees and calls what there, policies say.
echo 'aaaaaaaaaaaaaaaaaaaa ann
bbbbbbbbbbbbbbbbbbbb bob' >"$dir/tokens"
cat >"$dir/access.cedar" <<'CEDAR'
permit (principal == Agent::"gateway", action == Action::"tool_call", resource in Toolbox::"registry")
when { context.onBehalfOf == "ann" };
@reason("Ann looks after checkout alone.")
forbid (principal, action, resource)
unless { context.arguments has service && context.arguments.service == "checkout" };
CEDAR
: >"$dir/log" # there before anybody looks
"$ambit" mcp gateway $fleet --listen 127.0.0.1:0 --pins "$dir/pins" --tokens "$dir/tokens" --policies "$dir/access.cedar" 2>"$dir/log" &
gateway=$!
url=
for _ in $(seq 100); do
  url=$(sed -n 's/^ambit: gateway at //p' "$dir/log")
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "$url" ] || fail "no gateway came up: $(cat "$dir/log")"
ann='Authorization: Bearer aaaaaaaaaaaaaaaaaaaa'
bob='Authorization: Bearer bbbbbbbbbbbbbbbbbbbb'
"$ambit" mcp list "$url" --header "$ann" >"$dir/list"
has "$dir/list" mcp__registry__lookup_service
"$ambit" mcp list "$url" --header "$bob" >"$dir/list"
! grep -q mcp__ "$dir/list" || fail "bob sees: $(cat "$dir/list")"
"$ambit" mcp call "$url" mcp__registry__lookup_service service=checkout --header "$ann" >"$dir/call"
has "$dir/call" team-blue
if "$ambit" mcp call "$url" mcp__registry__lookup_service service=search --header "$ann" >"$dir/out" 2>&1; then fail "ann called: $(cat "$dir/out")"; fi
has "$dir/out" 'denied: Ann looks after checkout alone.'
if "$ambit" mcp call "$url" mcp__registry__lookup_service service=checkout --header "$bob" >"$dir/out" 2>&1; then fail "bob called: $(cat "$dir/out")"; fi
has "$dir/out" 'there is no tool "mcp__registry__lookup_service"'
kill $gateway
wait $gateway || fail "the gateway did not end well: $(cat "$dir/log")"
has "$dir/log" mcp.refused
echo 'permit (principal' >"$dir/access.cedar"
if "$ambit" mcp gateway $fleet --pins "$dir/pins" --policies "$dir/access.cedar" </dev/null >"$dir/out" 2>&1; then fail "it serves without its policies"; fi
has "$dir/out" 'access.cedar:'
echo "mcp: a gateway's tools were shown and called as the policies say, by caller and by argument"

# A skill: to the agent a tool, to its MCP clients a skill, and only as the policies allow.
mkdir -p "$dir/fleet/skills/refunds/refs"
printf -- '---\nname: refunds\ndescription: Refund by the rules\n---\n\nSee refs/limits.md.\n' >"$dir/fleet/skills/refunds/SKILL.md"
echo 'At most 100.' >"$dir/fleet/skills/refunds/refs/limits.md"
cp examples/3-workflows/scripts/single.json "$dir/fleet/said.json"
printf '%s\n' '{"models": {"m": {"provider": "scripted", "model": "said.json"}}, "skills": ["skills/refunds"],' \
  '"agents": {"clerk": {"model": "m", "tools": ["skill__refunds"], "a2a": {}}},' \
  '"policies": ["fleet.cedar"], "workflow": {"agent": "clerk", "prompt": "Hello"}}' >"$dir/fleet/fleet.json"
echo 'permit (principal, action == Action::"tool_call", resource == Tool::"skill__refunds");' >"$dir/fleet/fleet.cedar"
: >"$dir/log" # there before anybody looks
"$ambit" serve "$dir/fleet/fleet.json" --state "$dir/fleet/state" --listen 127.0.0.1:0 2>"$dir/log" >"$dir/out" &
gateway=$!
url=
for _ in $(seq 100); do
  url=$(sed -n 's#.*\(http://127.0.0.1:[0-9]*\).*#\1#p' "$dir/log" "$dir/out" | head -1)
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "$url" ] || fail "nothing serves: $(cat "$dir/log")"
mcp=$url/agents/clerk/mcp
"$ambit" mcp skills "$mcp" --header "$bearer" >"$dir/out"
has "$dir/out" 'skill://refunds/refs/limits.md'
"$ambit" mcp skills "$mcp" refunds refs/limits.md --header "$bearer" >"$dir/out"
has "$dir/out" 'At most 100.'
"$ambit" mcp skills "$mcp" refunds --era legacy --json --header "$bearer" >"$dir/out"
has "$dir/out" '"name":"refunds"'
echo 'forbid (principal, action, resource);' >"$dir/fleet/fleet.cedar"
kill -HUP $gateway
sleep 1
if "$ambit" mcp skills "$mcp" refunds --header "$bearer" >"$dir/out" 2>"$dir/err"; then fail "a forbidden skill was read"; fi
has "$dir/err" 'denied by policy'
kill $gateway
wait $gateway || fail "the server did not end well: $(cat "$dir/log")"
echo "mcp: a skill was listed, read with its digest checked, and refused once the policies forbade it"
