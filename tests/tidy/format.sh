#!/bin/sh
# Exit 0: every source file is formatted; 1: those named are not; 77: there is no clang-format 19.
cd "$1" || exit 1
command -v clang-format-19 >/dev/null || { echo "SKIPPED: clang-format-19 is not installed"; exit 77; }
find app runtime mcp a2a sandbox inference governance tests examples \
  \( -name '*.cpp' -o -name '*.h' -o -name '*.cu' \) -print0 |
  xargs -0 clang-format-19 --dry-run -Werror
