# Sourced by ./check crash record: kills a writer at random moments, AMBIT_KILLS times, and counts what was lost.
release_targets crash_test
AMBIT_KILLS=${AMBIT_KILLS:-1000} build/release/tests/governance/crash_test
