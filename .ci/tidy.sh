#!/bin/sh
# .ci/tidy.sh BUILD: clang-tidy over every product source, each once: what is clean and has not changed since
# (nor any header, nor the rules) is not looked at again.
set -eu
build=$1
command -v clang-tidy-19 >/dev/null || { echo "SKIPPED: clang-tidy-19 is not installed"; exit 77; }
mkdir -p "$build/tidy"
headers=$(find app runtime mcp a2a sandbox inference governance -name '*.h' -print0 | sort -z | xargs -0 cat .clang-tidy | sha256sum | cut -c1-16)
find app runtime mcp a2a sandbox inference governance -name '*.cpp' | sort | xargs -P "$(nproc)" -I{} sh -c '
  stamp="'"$build"'/tidy/$(cat {} | sha256sum | cut -c1-16)-'"$headers"'"
  [ -e "$stamp" ] && exit 0
  if clang-tidy-19 -p "'"$build"'" --quiet {} >"$stamp.log" 2>/dev/null; then touch "$stamp"; rm -f "$stamp.log"
  else cat "$stamp.log"; echo "clang-tidy: {}"; exit 1; fi' || exit 1
echo "clang-tidy: clean"
