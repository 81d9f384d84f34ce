# Sourced by ./check attack sandbox: the attacks on the jail (sandbox/ATTACKS.md), each in a real one, as root and as a plain user.
release_targets attack_suite attacker
build/release/tests/attack/attack_suite build/release/tests/attack/program/attacker
