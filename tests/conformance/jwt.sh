# Sourced by ./check conformance jwt [MUTATIONS]: tokens of ours and of npm jose, read by the other one; and bad ones.
release_targets jwt_tool
peer_package jose@6.2.17
[ -d build/npm/node_modules/jose ] || die "the peer is missing: nothing was compared"
node tests/conformance/jwt_peer.mjs build/release/tests/conformance/jwt_tool "${1:-20000}"
