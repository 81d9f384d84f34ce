#!/bin/sh
# .ci/tidy.sh BUILD: clang-tidy over every product source, each once: what is clean and has not changed since
# (nor any header that it includes, nor the rules) is not looked at again. BUILD must have been built.
set -eu
build=$1
command -v clang-tidy-19 >/dev/null || { echo "SKIPPED: clang-tidy-19 is not installed"; exit 77; }
mkdir -p "$build/tidy"
rules=$(sha256sum .clang-tidy | cut -c1-16)
# SOURCE HEADER...: what the compiler has read, a line a source.
ninja -C "$build" -t deps 2>/dev/null | awk -v build="$build" '
  function flush() { if (source != "") print source headers; source = headers = "" }
  /^[^ ]/ { flush() }
  { sub(/^ +/, "") }
  /^\.\.\/\.\.\/.*\.cpp$/ { source = substr($0, 7); next }
  /^\.\.\/\.\.\// { headers = headers " " substr($0, 7) }
  /^include\// { headers = headers " " build "/" $0 }
  END { flush() }' >"$build/tidy/sources"
find app runtime mcp a2a sandbox inference governance -name '*.cpp' | sort | xargs -P "$(nproc)" -I{} sh -c '
  read_with=$(grep -m 1 "^{} " "'"$build"'/tidy/sources" || echo {})
  stamp="'"$build"'/tidy/$(cat $read_with | sha256sum | cut -c1-16)-'"$rules"'"
  [ -e "$stamp" ] && exit 0
  if clang-tidy-19 -p "'"$build"'" --quiet {} >"$stamp.log" 2>/dev/null; then touch "$stamp"; rm -f "$stamp.log"
  else cat "$stamp.log"; rm -f "$stamp.log"; echo "clang-tidy: {}"; exit 1; fi' || exit 1
echo "clang-tidy: clean"
