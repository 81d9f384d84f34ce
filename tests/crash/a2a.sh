# Sourced by ./check crash a2a: kills a server with kill -9 in the middle of AMBIT_TASKS streaming tasks, AMBIT_KILLS
# times, starts it again, and counts what its clients missed or heard twice.
release_targets a2a_crash
build/release/tests/crash/a2a_crash "${AMBIT_TASKS:-1000}" "${AMBIT_KILLS:-3}"
