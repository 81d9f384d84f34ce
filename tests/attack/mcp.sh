# Sourced by ./check attack mcp [--verbose]: hostile MCP servers against our client and gateway (mcp/HOSTILE.md), in the
# sanitized build.
configure dev >&2
cmake --build --preset dev --parallel "$(nproc)" --target attack_mcp >&2
build/dev/tests/attack/attack_mcp "$@"
