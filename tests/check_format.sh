#!/bin/sh
# Names the C files that clang-format (with .clang-format) would change. Skips where clang-format is not installed.
set -u
cd "$(dirname "$0")/.."
command -v clang-format >/dev/null 2>&1 || { echo "clang-format is not installed"; exit 77; }
bad=0
for file in $(find common client server tests deploy -name '*.[ch]' | sort); do
    if ! clang-format --style=file "$file" | cmp -s - "$file"; then
        echo "$file"
        bad=$((bad + 1))
    fi
done
[ "$bad" -eq 0 ] || echo "$bad files differ from what clang-format makes"
[ "$bad" -eq 0 ]
