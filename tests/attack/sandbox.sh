# Sourced by ./check attack sandbox [CALLS]: the attacks on the jail, each in a real one, as root and as a plain user;
# then CALLS calls that are killed at random, and what they left behind.
release_targets attack_suite attacker sandbox_soak
build/release/tests/attack/attack_suite build/release/tests/attack/program/attacker
build/release/tests/attack/sandbox_soak build/release/tests/attack/program/attacker "${1:-10000}"
