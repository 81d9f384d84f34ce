# Sourced by ./check attack injection [--verbose]: recorded prompt injections against the gate, under the policies of
# examples/policies; no model is needed.
release_targets attack_injection
build/release/tests/attack/attack_injection "$@"
