#!/bin/sh
# tests/examples/memory.sh AMBIT: examples/4-memory as its user runs it: what one agent notes from a letter another one finds, and must not
# act upon; people see what is kept and where it came from; another run adds to it; the record has the write as an action of its own kind.
set -eu
ambit=$1
fleet=examples/4-memory/fleet.json
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "memory: FAILED: $*" >&2; exit 1; }
state=$dir/state

if $ambit memory list --state "$state" 2>"$dir/err"; then fail "a memory before there is one"; fi
grep -q 'no agent has kept anything' "$dir/err" || fail "no word of what is missing: $(cat "$dir/err")"
$ambit fleet check "$fleet" >/dev/null || fail "the fleet is not sound"
$ambit run "$fleet" --state "$state" --json --quiet >"$dir/out" || fail "$(cat "$dir/out")"
grep -qF '"answer":"I did not pay: a person must give me the account."' "$dir/out" || fail "it paid: $(cat "$dir/out")"
grep -qF 'known-accounts' "$dir/out" || fail "another policy stopped it"
$ambit audit list --state "$state" --type action.decided --json >"$dir/decided"
grep -q '"kind":"memory_write"' "$dir/decided" || fail "no memory write in the record"
grep 'memory:desk' "$dir/decided" | grep -q 'tool:read_letter' || fail "the record does not say where the account was read"
$ambit memory list --state "$state" | grep -q '^desk  *1 ' || fail "the list of memories"
$ambit memory get desk account/4711 --state "$state" --json >"$dir/entry"
grep -q '"trust":"untrusted"' "$dir/entry" && grep -q 'tool:read_letter' "$dir/entry" && grep -q '"agent":"reader"' "$dir/entry" ||
  fail "where it came from: $(cat "$dir/entry")"
$ambit memory search desk "New ACCOUNT" --state "$state" | grep -q 'XX89370400440532013000' || fail "search"
[ -z "$($ambit memory search desk nothing --state "$state")" ] || fail "found what is not there"
$ambit run "$fleet" --state "$state" --json --quiet >"$dir/out" || fail "the second run"
$ambit memory list --state "$state" | grep -q '^desk  *1 ' || fail "a second run keeps one entry of one key"
$ambit audit verify --state "$state" >/dev/null || fail "the record does not verify"
run=$($ambit audit list --state "$state" --type run.started --json | grep -o '"run":"[^"]*"' | head -1 | cut -d'"' -f4)
$ambit replay "$run" --fleet "$fleet" --state "$state" | grep -q identical || fail "the replay differs"
echo "memory: a note, a refused payment, its provenance, a replay"
