# Sourced by ./check conformance replay: a recorded run of the incident desk replayed as it was, and after one weight or one policy
# line was changed: the turn at which it diverges must be named. (One tool result: tests/governance/replay_test.cpp.)
release_targets ambit registry-server
ambit=build/release/ambit
fleet=examples/1-incident-desk
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$ambit" run $fleet/fleet.json --seed 7 --state "$work/state" --json --quiet >"$work/run.json"
run=$(sed -n 's/^{"run":"\([^"]*\)".*/\1/p' "$work/run.json" | head -1)
replay() { "$ambit" replay "$run" --state "$work/state" "$@" 2>&1; }

same=$(replay --fleet $fleet/fleet.json)
case $same in *identical*) echo "as it was: $same" ;; *) die "the run does not replay: $same" ;; esac

# One weight: a byte of the file with other high bits. Most single weights of a trained model change no token, and then the run is the
# same; the first of these places that does is what counts.
changed=
for percent in 97 90 75 60 45 30 20; do
  cp examples/model/ambit-desk.gguf "$work/one-weight.gguf"
  /usr/bin/python3 - "$work/one-weight.gguf" $percent <<'PY'
import sys
with open(sys.argv[1], "r+b") as file:
    data = file.read()
    # The exponent's byte of a number in the norm's or the projection's rows: large enough to be seen.
    at = len(data) * int(sys.argv[2]) // 100 | 1
    file.seek(at)
    file.write(bytes([data[at] ^ 0x7C]))
PY
  if ! changed=$(replay --fleet $fleet/fleet.json --model "$work/one-weight.gguf"); then break; fi
  changed=
done
[ -n "$changed" ] || die "one weight was changed in seven places, and nothing diverges"
case $changed in *"record "*", turn "*) echo "one weight: $(echo "$changed" | head -1 | cut -c1-160)" ;; *) die "no turn is named: $changed" ;; esac

# One policy line: the candidate forbids what was allowed.
cp $fleet/desk.cedar "$work/candidate.cedar"
printf '\n@id("no-tickets")\nforbid(principal, action == Action::"tool_call", resource == Tool::"file_ticket");\n' >>"$work/candidate.cedar"
tool=$("$ambit" audit list --state "$work/state" --verdict allow --type action.decided --json | grep -o '"tool":"[a-z_]*"' | cut -d'"' -f4 | grep -v '^desk$' | sort | uniq -c | sort -rn | head -1 | tr -s ' ' | cut -d' ' -f3)
sed -i "s/Tool::\"file_ticket\"/Tool::\"$tool\"/" "$work/candidate.cedar"
different=$(replay --fleet $fleet/fleet.json --policy "$work/candidate.cedar") || die "the candidate was not compared: $different"
case $different in *"record "*", turn "*"now deny (no-tickets)"*) echo "one policy line: $(echo "$different" | head -1 | cut -c1-160); $(echo "$different" | tail -1)" ;; *) die "no turn is named: $different" ;; esac
