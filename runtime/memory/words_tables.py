"""Writes words_tables.cpp: which code points words are made of, which of them are words of their own, and simple case folding."""

import sys
import unicodedata

IDEOGRAPHS = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "HENTAIGANA")


def ranges(is_in):
    """Closed ranges of the code points that `is_in` holds for."""
    found = []
    for point in range(sys.maxunicode + 1):
        if not is_in(chr(point)):
            continue
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return found


def folds():
    """(first, last, step, delta): each step-th point from first to last folds to itself plus delta."""
    found = []
    for point in range(sys.maxunicode + 1):
        folded = chr(point).casefold()
        if len(folded) != 1:
            folded = chr(point).lower()
        if len(folded) != 1 or ord(folded) == point:
            continue
        delta = ord(folded) - point
        last = found[-1] if found else None
        if last and last[3] == delta and last[0] == last[1] and point - last[1] in (1, 2):
            last[2] = point - last[1]
            last[1] = point
        elif last and last[3] == delta and last[0] != last[1] and point - last[1] == last[2]:
            last[1] = point
        else:
            found.append([point, point, 1, delta])
    return found


def table(kind, name, rows, text):
    lines, line = [], "   "
    for cell in map(text, rows):
        if len(line) + len(cell) + 2 > 100:
            lines.append(line)
            line = "   "
        line += f" {cell},"
    lines.append(line)
    return f"constexpr {kind} {name}[] = {{\n" + "\n".join(lines) + "\n};\n"


def closed(row):
    return f"{{0x{row[0]:X}, 0x{row[1]:X}}}"


def fold(row):
    return f"{{0x{row[0]:X}, 0x{row[1]:X}, {row[2]}, {row[3]}}}"


def is_word(char):
    return unicodedata.category(char)[0] in "LNM"


def stands_alone(char):
    return is_word(char) and unicodedata.name(char, "").startswith(IDEOGRAPHS)


print("// Made by words_tables.py from Unicode " + unicodedata.unidata_version + "; do not edit.")
print()
print('#include "memory/words.h"')
print()
print("namespace ambit::memory {")
print()
print("namespace {")
print("// clang-format off")
print(table("CodeRange", "in_words", ranges(is_word), closed), end="")
print(table("CodeRange", "alone", ranges(stands_alone), closed), end="")
print(table("CodeFold", "folds", folds(), fold), end="")
print("// clang-format on")
print("}  // namespace")
print()
print("std::span<const CodeRange> word_ranges() {\n  return in_words;\n}")
print("std::span<const CodeRange> ideograph_ranges() {\n  return alone;\n}")
print("std::span<const CodeFold> case_folds() {\n  return folds;\n}")
print()
print("}  // namespace ambit::memory")
