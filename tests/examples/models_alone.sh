#!/bin/sh
# tests/examples/models_alone.sh AMBIT: a fleet file of models and policies alone: there is nothing to run, but its models are served
# (OpenAI's API), with the console, metrics and the record; where an A2A or MCP client looks it is told why nobody is there.
set -eu
ambit=$1
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
fail() { echo "models alone: FAILED: $*" >&2; [ ! -s "$dir/log" ] || cat "$dir/log" >&2; exit 1; }

echo 'permit (principal, action == Action::"model_call", resource);' >"$dir/models.cedar"
cat >"$dir/fleet.json" <<END
{
  "models": {"desk": {"provider": "embedded", "model": "$(pwd)/examples/model/ambit-desk.gguf", "temperature": 0, "contextLength": 2048}},
  "policies": ["models.cedar"]
}
END
echo '{"models": {}, "policies": ["models.cedar"]}' >"$dir/nothing.json"
export AMBIT_TOKEN=a-token-of-at-least-16-characters
echo 'a-console-token-of-some-length ann reviewer' >"$dir/people"

$ambit fleet check "$dir/fleet.json" | grep -q 'sound. 0 agents, 1 models' || fail "the file is not sound"
if $ambit run "$dir/fleet.json" --state "$dir/state" 2>"$dir/err"; then fail "it ran"; fi
grep -q '^ambit: .*there is no workflow to run' "$dir/err" || fail "run says: $(cat "$dir/err")"
if $ambit serve "$dir/fleet.json" --state "$dir/state" --listen 127.0.0.1:0 --grpc 127.0.0.1:0 2>"$dir/err"; then fail "gRPC for nobody"; fi
grep -q '^ambit: .*no agent is exposed.*leave out --grpc' "$dir/err" || fail "with --grpc: $(cat "$dir/err")"
if $ambit serve "$dir/nothing.json" --state "$dir/state" --listen 127.0.0.1:0 2>"$dir/err"; then fail "it served nothing"; fi
grep -q '^ambit: .*no agent is exposed, and there is no model' "$dir/err" || fail "nothing to serve: $(cat "$dir/err")"

: >"$dir/log" # there before anybody looks
$ambit serve "$dir/fleet.json" --state "$dir/state" --listen 127.0.0.1:0 --console "$dir/people" 2>"$dir/log" &
pid=$!
for _ in $(seq 300); do
  ! grep -q '^ambit: serving' "$dir/log" || break
  sleep 0.1
done
url=$(sed -n 's/^ambit: 1 model at \(.*\)\/v1$/\1/p' "$dir/log")
[ -n "$url" ] || fail "no word of the model"
grep -q '^ambit: no agent is exposed .*neither A2A nor MCP' "$dir/log" || fail "no word of the doors that are not there"

# What TYPE PATH [CURL OPTIONS...]: the status and the answer.
ask() {
  place=$1
  shift
  curl -s -o "$dir/out" -w '%{http_code}' -H "Authorization: Bearer $AMBIT_TOKEN" "$@" "$url$place"
}
good() {
  pattern=$1
  shift
  status=$(ask "$@")
  [ "$status" = 200 ] || fail "$* gave $status: $(cat "$dir/out")"
  grep -q "$pattern" "$dir/out" || fail "$* says $(cat "$dir/out")"
}
good '^ok$' /healthz
good '"id":"desk"' /v1/models
talk='"model":"desk","max_tokens":8'
good '"content":"[^"]' /v1/chat/completions -d "{$talk,\"messages\":[{\"role\":\"user\",\"content\":\"Report INC-1: it is slow.\"}]}"
good '"text":"[^"]' /v1/completions -d "{$talk,\"prompt\":\"Report INC-1\"}"
good '"embedding":\[' /v1/embeddings -d '{"model":"desk","input":"it is slow"}'
good '^ambit_engine_tokens_total{model="desk",kind="output"} [1-9]' /metrics
good '^{"agents":\[\]}$' /agents
good '<html' /console/
[ "$(curl -s -o "$dir/out" -w '%{http_code}' "$url/v1/models")" = 401 ] || fail "models for everybody"
[ "$(curl -s -o "$dir/out" -w '%{http_code}' "$url/metrics")" = 401 ] || fail "metrics for everybody"
for place in /mcp /mcp/server-card /.well-known/agent-card.json /.well-known/ai-catalog.json /agents/clerk /agents/clerk/mcp; do
  [ "$(ask $place -d '{"jsonrpc":"2.0","id":1,"method":"ping"}')" = 404 ] || fail "somebody is at $place"
  grep -q '^{"error":"no agent is exposed .*neither A2A nor MCP"}$' "$dir/out" || fail "$place says $(cat "$dir/out")"
done
[ "$(ask /nowhere)" = 404 ] || fail "somebody is nowhere"

kill -HUP $pid
for _ in $(seq 300); do
  ! grep -q '^ambit: read again' "$dir/log" || break
  sleep 0.1
done
grep -q '^ambit: read again: .*"changes":\[\]' "$dir/log" || fail "it is not read again: $(cat "$dir/log")"
kill -TERM $pid
wait $pid || fail "it did not end well"
pid=
$ambit audit verify --state "$dir/state" >/dev/null || fail "the record does not verify"
$ambit cost --state "$dir/state" --by agent | grep -q '^openai ' || fail "the record knows nothing of the requests"
echo "models alone: chat, completion and embedding over OpenAI's API, in the record; no agent, no door for one"
