# Sourced by ./check conformance cedar [SETS]: the public corpus, then SETS random sets of policies against the public
# engine.
release_targets cedar_corpus_test cedar_differ
step "the public corpus: decisions, determining policies, errors, the validator's verdicts"
build/release/tests/governance/cedar_corpus_test
step "random sets of policies against npm @cedar-policy/cedar-wasm: decisions and validator"
peer_package @cedar-policy/cedar-wasm@4.13.0
[ -d build/npm/node_modules/@cedar-policy/cedar-wasm ] || die "the peer is missing: nothing was compared"
seed=${CEDAR_SEED:-$(date +%s)000}
echo "seed $seed (CEDAR_SEED=$seed asks the same again)"
build/release/tests/governance/cedar_differ "$seed" "${1:-20000}" 12 50 | node tests/governance/cedar_differ.mjs
