# Sourced by ./check crash fleet: kills a fleet of 1,000 agents with -9 at random moments, AMBIT_KILLS times (500), within AMBIT_SECONDS
# (590), takes its run up again each time, and counts outside of the program what its tools did: tests/crash/fleet/crash.py says what.
release_targets ambit
command -v python3 >/dev/null || install python3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp tests/crash/fleet/* "$dir/"
mkdir "$dir/effects"
sed -i "s|@EFFECTS@|$dir/effects|" "$dir/fleet.json"
seq 1 "${AMBIT_AGENTS:-1000}" | sed 's/.*/{"id": "a&"}/' >"$dir/agents.jsonl"
python3 tests/crash/fleet/crash.py "$PWD/build/release/ambit" "$dir"
