# Sourced by ./check conformance json_schema [SAMPLES]: what the engine may say under a schema, judged by npm ajv. Every text that
# is drawn must be valid; of the public suite's instances it counts those that are valid and not offered (too tight) and
# those that are invalid and offered (too loose).
release_targets sample_schemas
peer_package ajv@8.17.1
peer_package ajv-formats@3.0.1
[ -d build/npm/node_modules/ajv-formats ] || die "the judge is missing: nothing was compared"
mcp=../shared/data/mcp/2025-11-25.json
[ -f "$mcp" ] || echo "skipped: the definitions of MCP's schema ($mcp is not there)" >&2
build/release/tests/conformance/sample_schemas "${1:-200}" tests/data/inference/schemas.json \
  /usr/share/json-schema-test-suite/tests/draft7 "$mcp" | node tests/conformance/json_schema/judge.mjs
