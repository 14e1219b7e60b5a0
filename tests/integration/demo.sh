#!/bin/sh
# The demo, as `make demo` runs it: its sockets and files are in a folder of its own, and it ends with 0 only if every kind of
# route was taken, the edge's death cost no answer, and all were in time.
set -u
cd "$(dirname "$0")/../.."
: "${BUILD:=build}"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if ! BUILD="$BUILD" deploy/demo/demo.sh >"$out" 2>&1; then
    cat "$out"
    exit 1
fi
grep -q 'tandemctl explain' "$out" || { cat "$out"; echo 'no decision was explained'; exit 1; }
