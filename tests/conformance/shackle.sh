# Sourced by ./check conformance shackle: SHACKLE's decision vectors against limits, approvals, tokens and the gate.
release_targets shackle_cases
build/release/tests/conformance/shackle_cases
