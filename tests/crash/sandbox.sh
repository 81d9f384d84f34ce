# Sourced by ./check crash sandbox [CALLS]: calls that are killed at random moments, zygotes and supervisors that are
# killed in the middle of them, and counts before and after of processes, mounts, namespaces, descriptors, groups and memory.
release_targets attacker sandbox_soak
build/release/tests/attack/sandbox_soak build/release/tests/attack/program/attacker "${1:-100000}"
