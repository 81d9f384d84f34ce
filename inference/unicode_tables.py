"""Writes unicode_tables.cpp: the code points of the categories L* and N* as sorted ranges."""

import sys
import unicodedata


def ranges(prefix):
    """Closed ranges of the code points whose general category begins with `prefix`."""
    found = []
    for point in range(sys.maxunicode + 1):
        if not unicodedata.category(chr(point)).startswith(prefix):
            continue
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return found


def table(name, pairs):
    cells = [f"{{0x{a:X}, 0x{b:X}}}" for a, b in pairs]
    lines, line = [], "   "
    for cell in cells:
        if len(line) + len(cell) + 2 > 100:
            lines.append(line)
            line = "   "
        line += f" {cell},"
    lines.append(line)
    return f"constexpr CodeRange {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


print("// Made by unicode_tables.py from Unicode " + unicodedata.unidata_version + "; do not edit.")
print()
print('#include "inference/unicode.h"')
print()
print("namespace ambit::inference {")
print()
print("namespace {")
print("// clang-format off")
print(table("letters", ranges("L")), end="")
print(table("numbers", ranges("N")), end="")
print("// clang-format on")
print("}  // namespace")
print()
print("std::span<const CodeRange> letter_ranges() { return letters; }")
print("std::span<const CodeRange> number_ranges() { return numbers; }")
print()
print("}  // namespace ambit::inference")
