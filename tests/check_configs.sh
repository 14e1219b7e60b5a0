#!/bin/sh
# The annotated configurations in deploy/config are what the tables in the code say (`make configs` writes them anew).
set -u
cd "$(dirname "$0")/.."
: "${BUILD:=build}"
bad=0
for pair in server:server.conf client:client.conf task:task.example; do
    if ! "$BUILD/tools/annotate-${pair%%:*}" | diff -u "deploy/config/${pair#*:}" -; then
        echo "deploy/config/${pair#*:} is not what the table says: run 'make configs'"
        bad=1
    fi
done
exit $bad
