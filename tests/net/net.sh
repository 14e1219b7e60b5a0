#!/bin/sh
# Both daemons on a real network that is bad: two network namespaces and a link between them whose bandwidth goes down and up,
# that loses packets, falls silent and speaks again, while a program asks for pictures and commands. What is checked on the
# wall clock is what the simulator checks in virtual time. Root only; skipped (77) where namespaces, TUN devices, tbf or
# nftables are not to be had.
#   net.sh [SCENARIO]     quick (default), or one of those below; "net.sh list" names them
#   TLS=1 APPS=8 PICTURES=10 COMMANDS=3 SIDE=100 CSV=FILE tests/net/net.sh quick
# Everything happens in namespaces of this run alone, sockets and files included; the network and the files of the host are not
# touched, and nothing is left however it ends: with its first process all others are killed, and with them goes the rest.
set -u
cd "$(dirname "$0")/../.."
top=$PWD
: "${BUILD:=build}"
case $BUILD in /*) ;; *) BUILD=$top/$BUILD ;; esac
. tests/net/lib_rig.sh

. tests/net/scenarios.sh

scenario=${1:-quick}
case " $SCENARIOS " in
*" $scenario "*) ;;
*)
    echo "scenarios: $SCENARIOS"
    [ "$scenario" = list ] && exit 0
    exit 2
    ;;
esac
if [ "${TANDEM_NET_INSIDE:-}" != yes ]; then
    rig_check
    TANDEM_NET_INSIDE=yes
    export TANDEM_NET_INSIDE BUILD
    exec unshare --net --mount --pid --fork --kill-child --mount-proc "$0" "$@"
fi
work=/run/net
trap 'exit 1' HUP INT TERM
. tests/net/lib_site.sh
"scenario_$scenario"
[ -z "${CSV:-}" ] || cp "$work/requests.csv" "$CSV"
[ $bad -eq 0 ] && [ -z "${LOGS:-}" ] || logs_show
echo "$scenario: $checks checks, $bad failed"
[ $bad -eq 0 ]
