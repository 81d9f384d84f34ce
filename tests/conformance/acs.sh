# Sourced by ./check conformance acs: the cases of the Agent Control Specification against the gate.
release_targets acs_cases
build/release/tests/conformance/acs_cases
