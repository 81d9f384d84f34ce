#!/bin/sh
# tests/examples/bad_input.sh AMBIT: whatever is wrong from outside gives one clear line and exit code 1 (or
# 2 for the command line), and nothing half-done stays.
set -u
ambit=$(realpath "$1")
root=$(pwd)
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
bad=0

# expect CODE PATTERN COMMAND...: the exit code, and one line on stderr that matches.
expect() {
  code=$1 pattern=$2
  shift 2
  "$@" >"$dir/out" 2>"$dir/err"
  got=$?
  lines=$(grep -c '^ambit: ' "$dir/err")
  if [ $got -ne "$code" ] || ! grep -qE "$pattern" "$dir/err" || [ "$lines" -ne 1 ]; then
    echo "FAILED: $* gave $got: $(cat "$dir/err")" >&2
    bad=$((bad + 1))
  else
    echo "ok: $(tail -1 "$dir/err" | cut -c1-150)"
  fi
}

desk="$root/examples/1-incident-desk"
# A fleet like the desk's, with one thing changed by sed.
fleet() {
  sed -e "s#\"inputs\": \"reports.jsonl\"#\"inputs\": \"$desk/reports.jsonl\"#" \
      -e "s#\"../model/#\"$root/examples/model/#" -e "s#\"desk.cedar\"#\"$desk/desk.cedar\"#" \
      -e "s#\"registry.json\"\]#\"$desk/registry.json\"], \"cwd\": \"$desk\"#" \
      -e "s#../../build/release/#$root/build/release/#" -e "$1" "$desk/fleet.json" >"$dir/fleet.json"
}
run() { expect "$1" "$2" "$ambit" run "$dir/fleet.json" --state "$dir/state" --quiet --json; }

expect 2 'there is no command "rum run"|there is no command' "$ambit" rum
expect 2 'did you mean --seed' "$ambit" run x.json --sed 1
expect 1 'no-such-file.json' "$ambit" run "$dir/no-such-file.json"
fleet 's#ambit-desk.gguf#missing.gguf#'
run 1 'there is no file'
head -c 5000 "$root"/examples/model/*.gguf >"$dir/cut.gguf"
fleet "s#$root/examples/model/ambit-desk.gguf#$dir/cut.gguf#"
sed -i "s#\"model\": \"[^\"]*gguf\"#\"model\": \"$dir/cut.gguf\"#" "$dir/fleet.json"
run 1 'cut.gguf|model desk'
printf 'permit (principal, action == , resource);\n' >"$dir/broken.cedar"
fleet "s#$desk/desk.cedar#$dir/broken.cedar#"
sed -i "s#\"policies\": \[[^]]*\]#\"policies\": [\"$dir/broken.cedar\"]#" "$dir/fleet.json"
run 1 'broken.cedar:1:[0-9]+'
# server COMMAND ARGUMENTS: the desk with this instead of its registry server.
server() {
  fleet ''
  sed -i -e "s#\"command\": \"\${REGISTRY_SERVER[^\"]*\"#\"command\": \"$1\"#" \
         -e "s#\"args\": \[[^]]*\]#\"args\": [$2]#" "$dir/fleet.json"
}
server /no/such/server ''
run 1 '/no/such/server'
server "$(realpath /bin/cat)" '"registry.json"'  # speaks, but not the protocol, and ends
run 1 'MCP server "registry"'
server "$(realpath /bin/false)" ''
run 1 'MCP server "registry"'
printf '{"id": "a"}\nnot json\n' >"$dir/reports.jsonl"
fleet "s#x#x#"
sed -i "s#\"inputs\": \"[^\"]*\"#\"inputs\": \"$dir/reports.jsonl\"#" "$dir/fleet.json"
"$ambit" run "$dir/fleet.json" --state "$dir/state2" --quiet --json >"$dir/out" 2>"$dir/err"
if [ $? -eq 1 ] && grep -q 'line 2 is not a JSON object' "$dir/out" && grep -q 'the prompt needs a field' "$dir/out"; then
  echo "ok: a report that is not JSON fails alone"
else
  echo "FAILED: broken reports: $(cat "$dir/err" "$dir/out")" >&2
  bad=$((bad + 1))
fi
expect 1 'there is no record in .*nothing' "$ambit" audit verify --state "$dir/nothing"
expect 1 'not the index' "$ambit" audit show x --state "$dir/state2"
# Damaged anywhere: listed as far as it goes or refused in one line, never a crash.
crashed=0
for at in 4096 9000 20480 33333 50000 70001; do
  cp -r "$dir/state2/journal" "$dir/damaged" 2>/dev/null
  mkdir -p "$dir/state3" && rm -rf "$dir/state3/journal" && mv "$dir/damaged" "$dir/state3/journal"
  dd if=/dev/urandom of="$dir/state3/journal/data.mdb" bs=1 count=64 seek=$at conv=notrunc 2>/dev/null
  "$ambit" audit list --state "$dir/state3" >/dev/null 2>"$dir/err"
  code=$?
  if [ $code -gt 1 ] || { [ $code -eq 1 ] && [ "$(grep -c '^ambit: ' "$dir/err")" -ne 1 ]; }; then
    echo "FAILED: audit list with noise at byte $at gave $code: $(cat "$dir/err")" >&2
    crashed=$((crashed + 1))
  fi
done
[ $crashed -eq 0 ] && echo "ok: a damaged record is never a crash"
bad=$((bad + crashed))
if [ "$(id -u)" -ne 0 ]; then
  mkdir -p "$dir/readonly" && chmod 500 "$dir/readonly"
  fleet ''
  expect 1 'readonly' "$ambit" run "$dir/fleet.json" --state "$dir/readonly/state" --quiet
fi
# A disk of 300 KiB: the run ends with one clear line, and what was acknowledged verifies.
cat >"$dir/small_disk.sh" <<'EOF'
mkdir -p "$2/small" && mount -t tmpfs -o size=300k none "$2/small" && echo mounted >"$2/mounted" &&
  "$1" run "$2/fleet.json" --state "$2/small/state" --quiet
code=$?
if [ -e "$2/mounted" ] && [ -e "$2/small/state/journal" ]; then "$1" audit verify --state "$2/small/state" >"$2/verified" || exit 9; fi
exit $code
EOF
fleet ''
if unshare -rm true 2>/dev/null; then
  expect 1 'the disk is full' unshare -rm sh "$dir/small_disk.sh" "$ambit" "$dir"
else
  echo "skipped: a full disk (no user namespaces here)"
fi
head -c 100 /dev/urandom >"$dir/noise.gguf"
expect 1 'noise.gguf|GGUF' "$ambit" model inspect "$dir/noise.gguf"
mkdir "$dir/folder"
expect 1 'folder/config.json' "$ambit" model inspect "$dir/folder"
expect 1 'noise.gguf|GGUF' "$ambit" model chat "$dir/noise.gguf"
if [ "$(printf 'hello\n\nand again\n' | "$ambit" model chat "$root/examples/model/ambit-desk.gguf" --max-tokens 4 | wc -l)" -ge 2 ]; then
  echo "ok: a line a turn"
else
  echo "FAILED: ambit model chat does not answer each line" >&2
  bad=$((bad + 1))
fi
[ $bad -eq 0 ]
