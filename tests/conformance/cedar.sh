# Sourced by ./check conformance cedar [SETS]: the public corpus, then SETS random sets of policies (50 questions each)
# against the public engine, in batches on all processors. 20,000 sets are a million decisions.
release_targets cedar_corpus_test cedar_differ
step "the public corpus: decisions, determining policies, errors, the validator's verdicts"
build/release/tests/governance/cedar_corpus_test
step "random sets of policies against npm @cedar-policy/cedar-wasm: decisions and validator"
peer_package @cedar-policy/cedar-wasm@4.13.0
[ -d build/npm/node_modules/@cedar-policy/cedar-wasm ] || die "the peer is missing: nothing was compared"
sets=${1:-20000}
case $sets in '' | *[!0-9]* | 0*) die "usage: ./check conformance cedar [SETS]" ;; esac
seed=${CEDAR_SEED:-$(date +%s)000}
echo "seed $seed (CEDAR_SEED=$seed asks the same again)"
cedar_batch=500
cedar_differ_batch() { # FIRST SETS
  # Without --no-opt the peer's JavaScript engine (node 20) now and then ends itself in the midst of a batch.
  build/release/tests/governance/cedar_differ "$((seed + $1))" "$2" 12 50 | node --no-opt tests/governance/cedar_differ.mjs
}
cedar_lane() { # NUMBER LANES
  first=$(($1 * cedar_batch))
  while [ "$first" -lt "$sets" ]; do
    count=$((sets - first < cedar_batch ? sets - first : cedar_batch))
    cedar_differ_batch "$first" "$count" || { echo "batch at seed $((seed + first)) failed" >&2; return 1; }
    first=$((first + $2 * cedar_batch))
  done
}
rm -f build/cedar-differ-*.log
lanes=$(nproc)
lane=0
while [ "$lane" -lt "$lanes" ]; do
  { cedar_lane "$lane" "$lanes" >"build/cedar-differ-$lane.log" && echo done >>"build/cedar-differ-$lane.log"; } &
  lane=$((lane + 1))
done
wait
cat build/cedar-differ-*.log | node -e '
const lines = require("fs").readFileSync(0, "utf8").trim().split("\n");
const sum = {};
for (const line of lines) if (line !== "done") for (const [name, n] of Object.entries(JSON.parse(line))) sum[name] = (sum[name] ?? 0) + n;
console.log(JSON.stringify(sum));
const ended = lines.filter((line) => line === "done").length;
const good = ended === Number(process.argv[1]) && sum.sets === Number(process.argv[2]) &&
  sum.different + sum.validatedDifferent + sum.skipped === 0;
process.exit(good ? 0 : 1);' "$lanes" "$sets" || die "the two engines differ, or a batch did not end (see above)"
