#!/bin/sh
# The annotated configurations in deploy/config and the keys in tandem.conf(5) are what the tables in the code say (`make
# configs` writes them anew).
set -u
cd "$(dirname "$0")/.."
: "${BUILD:=build}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
bad=0
deploy/config/generate.sh "$work" || { echo "generate.sh failed"; exit 1; }
for file in deploy/config/server.conf deploy/config/client.conf deploy/config/task.example deploy/man/tandem.conf.5; do
    if ! diff -u "$file" "$work/${file##*/}"; then
        echo "$file is not what the tables say: run 'make configs'"
        bad=1
    fi
done
# Every table has its place in the manual, or generate.sh would compare nothing.
for table in client server task; do
    "$BUILD/tools/annotate-$table" --man | sed -n 's/^\.BR \([a-z_]*\) .*/\1/p' >"$work/keys"
    [ -s "$work/keys" ] || { echo "annotate-$table --man names no keys"; bad=1; }
    while read -r key; do
        grep -q "^\.BR $key " deploy/man/tandem.conf.5 || { echo "tandem.conf(5) lacks $key of $table"; bad=1; }
    done <"$work/keys"
done
exit $bad
