# Sourced by ./check conformance tlog: the log against verifiers that are not ours: published vectors, then Go's sumdb
# on a log of ours. Says aloud what it skips.
install golang-go golang-golang-x-mod-dev python3 openssl
release_targets log_test tlog_log
build=build/release

shared=${AMBIT_SHARED:-../shared}
if [ -d "$shared/data/tlog" ]; then
  AMBIT_SHARED=$shared "$build/tests/governance/log_test" "[merkle],[note]"
else
  echo "skipped: all published vectors (AMBIT_SHARED names no folder with data/tlog); the sample in tests/data/tlog is checked"
  "$build/tests/governance/log_test" "[merkle],[note]"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$build/tests/governance/tlog_log" "$work/log"
/usr/bin/python3 tests/conformance/tlog/verify_bundle.py "$work/log/bundle" "$(cat "$work/log/vkey")"

sumdb=/usr/share/gocode/src/golang.org/x/mod/sumdb
if ! command -v go >/dev/null || [ ! -d "$sumdb" ]; then
  echo "skipped: Go's sumdb (apt: golang-go golang-golang-x-mod-dev)"
  exit 0
fi
GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE="$work/cache" GOFLAGS= \
  go run tests/conformance/tlog/verify.go "$work/log"
