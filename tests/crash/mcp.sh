# Sourced by ./check crash mcp [STARTS]: MCP servers in their jails, started and ended at random moments, supervisors that are
# killed with servers running, and counts before and after of processes, descriptors, mounts, namespaces, groups and memory.
release_targets mcp_pest mcp_hygiene
build/release/tests/crash/mcp_hygiene build/release/tests/crash/program/mcp_pest "${1:-10000}"
