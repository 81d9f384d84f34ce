# Sourced by ./check conformance openai: the official client of the API, from npm and unchanged, against `ambit serve`: chat, streaming,
# tools, structured output, completions, embeddings, and wrong requests. Prints one line of JSON.
npm=build/npm
skip() {
  echo "skipped: $*" >&2
  echo '{"suite":"openai","passed":0,"failed":0,"skipped":1}'
  exit 0
}
release_targets ambit registry-server
command -v npm >/dev/null || install nodejs npm
peer_package openai@7.57.0
[ -d "$npm/node_modules/openai" ] || skip "no openai client from npm"
dir=$(mktemp -d)
export AMBIT_TOKEN=a-token-of-at-least-16-characters
build/release/ambit serve examples/1-incident-desk/fleet.json --listen 127.0.0.1:0 --state "$dir/state" 2>"$dir/log" &
pid=$!
trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
for _ in $(seq 300); do
  grep -q '^ambit: serving' "$dir/log" && break
  sleep 0.1
done
url=$(sed -n 's/^ambit: agent clerk at \(.*\)\/agents\/clerk$/\1/p' "$dir/log")
[ -n "$url" ] || die "the server did not come up: $(cat "$dir/log")"
code=0
AMBIT_URL=$url NODE_PATH=$PWD/$npm/node_modules node tests/conformance/openai/client.cjs || code=$?
build/release/ambit cost --state "$dir/state" --by agent | grep -q '^openai ' || die "the record knows nothing of the requests"
exit "$code"
