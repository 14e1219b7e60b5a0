#!/bin/sh
# Every bound of common/base/limits.h is used by the product and hit by a test of `make check`: the code of a unit, golden or
# integration test names it. Comments do not count, nor do the fuzz targets and benchmarks, which promise nothing about a bound.
set -u
cd "$(dirname "$0")/.."
code=$(mktemp)
trap 'rm -f "$code"' EXIT

# The words LIMIT_* of C files (standard input names them) without comments and texts, one a line.
words() {
    xargs -r cat | awk '
        { line = $0; out = ""
          while (line != "") {
              if (inside) {
                  end = index(line, "*/")
                  if (end == 0) break
                  line = substr(line, end + 2); inside = 0
              } else if (substr(line, 1, 2) == "/*") { inside = 1; line = substr(line, 3) }
              else if (substr(line, 1, 2) == "//") break
              else if (match(line, /^"([^"\\]|\\.)*"/)) line = substr(line, RLENGTH + 1)
              else { out = out substr(line, 1, 1); line = substr(line, 2) }
          }
          print out }' | grep -o 'LIMIT_[A-Z0-9_]*' | sort -u
}

missing=0
find tests/unit tests/golden tests/integration -name '*.[ch]' | words >"$code"
used=$(find common client server -name '*.[ch]' ! -path common/base/limits.h | words)
for limit in $(sed -n 's/^#define \(LIMIT_[A-Z0-9_]*\) .*/\1/p' common/base/limits.h); do
    if ! grep -qx "$limit" "$code"; then
        echo "$limit: no test names it"
        missing=$((missing + 1))
    fi
    if ! echo "$used" | grep -qx "$limit"; then
        echo "$limit: nothing in the product keeps to it"
        missing=$((missing + 1))
    fi
done
[ "$missing" -eq 0 ] || echo "$missing lines of common/base/limits.h promise what is not there"
[ "$missing" -eq 0 ]
