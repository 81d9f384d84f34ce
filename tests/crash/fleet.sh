# Sourced by ./check crash fleet: kills a fleet of 1,000 agents with -9 at random moments, AMBIT_KILLS times, takes its run up again
# each time, and counts outside of the program what its tools did. Lost: recorded as done and not done. Doubled: done twice though it
# must not be. What was under way when it was killed is escalated, never guessed. Prints one line of JSON.
release_targets ambit
kills_wanted=${AMBIT_KILLS:-500}
agents=${AMBIT_AGENTS:-1000}
ambit=$PWD/build/release/ambit
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp tests/crash/fleet/* "$dir/"
mkdir "$dir/effects"
sed -i "s|@EFFECTS@|$dir/effects|" "$dir/fleet.json"
seq 1 "$agents" | sed 's/.*/{"id": "a&"}/' >"$dir/agents.jsonl"
seed=${AMBIT_SEED:-1}
random() { # MOST: 0 to MOST-1, the same for the same AMBIT_SEED
  seed=$(((seed * 1103515245 + 12345) % 2147483648))
  echo $((seed / 65536 % $1))
}
kills=0 runs=0 sessions=0 lost=0 doubled=0 unfinished=0 in_doubt=0 recovery_ms=0
while [ "$kills" -lt "$kills_wanted" ]; do
  rm -rf "$dir/state" "$dir/effects/log"
  : >"$dir/effects/log"
  resume=
  while :; do
    # shellcheck disable=SC2086
    "$ambit" run "$dir/fleet.json" --state "$dir/state" $resume --transcripts "$dir/transcripts" --json --quiet >"$dir/out" 2>"$dir/err" &
    pid=$!
    if [ "$kills" -lt "$kills_wanted" ]; then
      sleep "$(printf '%d.%03d' $(($(random 2000) / 1000)) "$(random 1000)")"
      if kill -9 "$pid" 2>/dev/null; then kills=$((kills + 1)); fi
    fi
    code=0
    wait "$pid" || code=$?
    [ "$code" -ne 0 ] || break
    [ "$code" -eq 137 ] || die "the run failed: $(cat "$dir/err")"
    run=$("$ambit" audit list --state "$dir/state" --type run.started --json 2>/dev/null | sed -n 's/.*"run":"\([^"]*\)".*/\1/p' | head -1)
    resume=${run:+--resume $run}
  done
  started=$(date +%s%N)
  "$ambit" audit verify --state "$dir/state" >/dev/null || die "the record does not verify"
  recovery_ms=$(((($(date +%s%N) - started) / 1000000)))
  # shellcheck disable=SC2046
  set -- $(python3 tests/crash/fleet/count.py "$dir/transcripts" "$dir/effects/log")
  runs=$((runs + 1)) sessions=$((sessions + $1)) lost=$((lost + $2)) doubled=$((doubled + $3))
  unfinished=$((unfinished + $4)) in_doubt=$((in_doubt + $5))
done
printf '{"crash":"fleet","agents":%d,"kills":%d,"runs":%d,"sessions":%d,"lost":%d,"doubled":%d,"unfinished":%d,"inDoubt":%d,"verifyMs":%d}\n' \
  "$agents" "$kills" "$runs" "$sessions" "$lost" "$doubled" "$unfinished" "$in_doubt" "$recovery_ms"
[ $((lost + doubled + unfinished)) -eq 0 ]
