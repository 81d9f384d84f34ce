# Sourced by ./check crash record: kills a writer at random moments, AMBIT_KILLS times, and counts what was lost; then injected write
# faults: a full disk, and AMBIT_TORN_WRITES commits of which the disk holds only some pages.
release_targets crash_test log_test
AMBIT_KILLS=${AMBIT_KILLS:-1000} build/release/tests/governance/crash_test
AMBIT_TORN_WRITES=${AMBIT_TORN_WRITES:-400} build/release/tests/governance/log_test "[fault]"
