# Sourced by ./check soak fleet [MINUTES]: `ambit serve` under load for so many minutes (20): tasks over A2A with jailed tool calls, tool
# calls over MCP, chats over OpenAI's API, callers that hang up. Its memory, descriptors, processes and threads, and those of all that it
# started, are sampled every second and must be flat: tests/soak/fleet/soak.py says how that is judged.
release_targets ambit
command -v python3 >/dev/null || install python3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/fleet"
cp tests/soak/fleet/*.json tests/soak/fleet/*.cedar "$dir/fleet/"
python3 tests/soak/fleet/soak.py "$PWD/build/release/ambit" "$dir" "${1:-20}"
