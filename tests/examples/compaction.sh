#!/bin/sh
# tests/examples/compaction.sh AMBIT: examples/5-compaction as its user runs it: it reads six pages in a window that holds three, the record
# has its summaries as turns, and the whole of it replays; without compaction in the fleet file it does not sum anything up.
set -eu
ambit=$1
fleet=examples/5-compaction/fleet.json
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "compaction: FAILED: $*" >&2; exit 1; }
state=$dir/state

$ambit fleet check "$fleet" >/dev/null || fail "the fleet is not sound"
$ambit run "$fleet" --state "$state" --json --quiet >"$dir/out" || fail "$(cat "$dir/out")"
grep -qF '"answer":"Six pages: two crates too many, and the captain paid for them."' "$dir/out" || fail "no answer: $(cat "$dir/out")"
[ "$(grep -o '"tool":"read_page"' "$dir/out" | wc -l)" -eq 6 ] || fail "a page was read twice, or not at all"
$ambit describe main --state "$state" >"$dir/described"
grep -q '^summaries  [1-9]' "$dir/described" || fail "no summary: $(cat "$dir/described")"
summaries=$($ambit audit list --state "$state" --type turn.completed --json | grep -c '"compacts":')
grep -q "^summaries  $summaries\$" "$dir/described" || fail "$summaries summaries in the record: $(cat "$dir/described")"
$ambit audit verify --state "$state" >/dev/null || fail "the record does not verify"
run=$($ambit audit list --state "$state" --type run.started --json | grep -o '"run":"[^"]*"' | head -1 | cut -d'"' -f4)
$ambit replay "$run" --fleet "$fleet" --state "$state" | grep -q identical || fail "the replay differs"
cp -r examples/5-compaction "$dir/without"
sed -i '/"compaction":/d; s/"tools": \["read_page"\],/"tools": ["read_page"]/; /\$schema/d' "$dir/without/fleet.json"
$ambit run "$dir/without/fleet.json" --state "$dir/state2" --json --quiet >"$dir/out" || fail "without: $(cat "$dir/out")"
if $ambit describe main --state "$dir/state2" | grep -q '^summaries'; then fail "a summary nobody asked for"; fi
echo "compaction: six pages, $summaries summaries, a replay"
