# Sourced by ./check conformance console: the review page in a headless Chromium, as reviewers and an owner use it: a denied action found,
# read, verified in the browser, noted, signed off by a second person; an escalation answered; tampering seen; 100,000 records; axe on each
# view. AMBIT_SCREENSHOTS=FOLDER keeps the pictures.
command -v npm >/dev/null || install nodejs npm
command -v chromium >/dev/null || install chromium
peer_package playwright-core@1.65.1
peer_package axe-core@4.14.1
release_targets ambit registry-server console_fixture
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
build/release/ambit run examples/1-incident-desk/fleet.json --seed 7 --state "$work/desk" --json --quiet >/dev/null
build/release/tests/conformance/console_fixture approvals "$work/desk"
build/release/tests/conformance/console_fixture big "$work/big" "${AMBIT_RECORDS:-100000}"
NODE_PATH=build/npm/node_modules node tests/conformance/console/drive.cjs build/release/ambit \
  build/release/tests/conformance/console_fixture "$work" "${AMBIT_SCREENSHOTS:-}"
