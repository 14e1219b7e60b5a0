#!/bin/sh
# The network tests in full, about half an hour: every scenario, with TLS and without, with one and with eight applications.
#   REPEAT=5 tests/net/long.sh      how often each scenario runs; one after the other, all logs of a failed run are shown
set -u
cd "$(dirname "$0")/../.." # net.sh goes there and starts itself again by the name it was called by
: "${REPEAT:=5}"
failed=0
run=0
for k in $(seq "$REPEAT"); do
    for scenario in $(tests/net/net.sh list | sed 's/^scenarios: //'); do
        # In five rounds each scenario has met every combination.
        TLS=$((run % 2)) APPS=$((run / 2 % 2 * 7 + 1))
        [ $APPS -eq 1 ] && rate=10 || rate=2
        run=$((run + 1))
        echo "== $scenario, round $k: $APPS applications, $([ $TLS -eq 1 ] && echo TLS || echo plaintext)"
        TLS=$TLS APPS=$APPS PICTURES=$rate COMMANDS=1 tests/net/net.sh "$scenario"
        status=$?
        [ $status -ne 77 ] || exit 77
        [ $status -eq 0 ] || failed=$((failed + 1))
    done
done
echo "$run runs, $failed failed"
[ $failed -eq 0 ]
