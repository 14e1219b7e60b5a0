#!/usr/bin/env python3
"""Writes tokenizer_unicode.c: the letters (L*) and numbers (N*) of Unicode as sorted ranges.

    /usr/bin/python3 common/engine/make_unicode.py > common/engine/tokenizer_unicode.c

The version of Unicode is that of the Python which runs it (3.11: 14.0.0); it is written into the file.
"""
import sys
import unicodedata


def ranges(letter):
    found = []
    for point in range(sys.maxunicode + 1):
        if unicodedata.category(chr(point))[0] == letter:
            if found and found[-1][1] == point - 1:
                found[-1][1] = point
            else:
                found.append([point, point])
    return found


def table(name, rows):
    cells = ["{0x%X, 0x%X}" % (first, last) for first, last in rows]
    lines = ["static const struct unicode_range %s[] = {" % name]
    line = "   "
    for cell in cells:
        if len(line) + len(cell) + 2 > 120:
            lines.append(line)
            line = "   "
        line += " " + cell + ","
    return "\n".join(lines + [line, "};"])


print("""/* tokenizer_unicode.c: which characters are letters, numbers and white space. Unicode %s, made by make_unicode.py; not
 * edited by hand. White space is the White_Space property, which has no category of its own. */
#include "common/engine/tokenizer_parts.h"

struct unicode_range {
    uint32_t first, last; /* inclusive */
};
""" % unicodedata.unidata_version)
print(table("letters", ranges("L")))
print()
print(table("numbers", ranges("N")))
print("""
static const struct unicode_range spaces[] = {
    {0x9, 0xD}, {0x20, 0x20}, {0x85, 0x85}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A},
    {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000},
};

static bool range_find(const struct unicode_range *ranges, size_t count, uint32_t point)
{
    size_t low = 0, high = count;

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (point > ranges[middle].last) {
            low = middle + 1;
        } else if (point < ranges[middle].first) {
            high = middle;
        } else {
            return true;
        }
    }
    return false;
}

#define RANGE_FIND(table, point) range_find(table, sizeof(table) / sizeof((table)[0]), point)

enum text_class unicode_class(uint32_t point)
{
    if (RANGE_FIND(letters, point)) {
        return TEXT_LETTER;
    }
    if (RANGE_FIND(numbers, point)) {
        return TEXT_NUMBER;
    }
    return RANGE_FIND(spaces, point) ? TEXT_SPACE : TEXT_OTHER;
}""")
