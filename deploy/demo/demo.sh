#!/bin/sh
# demo.sh: both daemons on this machine with the shipped models, real pictures and commands through libtandem, the edge killed in the
# middle. Run by `make demo`, which builds what this needs. Exit status 0 only if everything that was promised held.
set -u
cd "$(dirname "$0")/../.."
: "${BUILD:=build}"
work=$(mktemp -d)
server=
client=

# Ends what was started here, by process id, and nothing else.
stop() {
    for pid in $client $server; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

fail() {
    echo "demo: $1" >&2
    for log in "$work"/*.log; do
        sed "s|^|  ${log##*/}: |" "$log" >&2
    done
    exit 1
}

# wait_for SOCKET PID: until the daemon answers on its status socket.
wait_for() {
    tries=0
    until "$BUILD/bin/tandemctl" status --socket "$1" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] && kill -0 "$2" 2>/dev/null || fail "a daemon did not come up"
        sleep 0.1
    done
}

mkdir "$work/tasks.d" "$work/state"
for task in deploy/config/tasks.d/*.conf; do
    sed "s|/usr/share/tandem/models|$PWD/deploy/models|" "$task" >"$work/tasks.d/${task##*/}"
done
cat >"$work/server.conf" <<CONF
[server]
listen = ipc://$work/edge.sock
status_socket = $work/server-status.sock
tasks_dir = $work/tasks.d
CONF
cat >"$work/client.conf" <<CONF
[client]
app_socket = $work/app.sock
status_socket = $work/client-status.sock
tasks_dir = $work/tasks.d
state_dir = $work/state
[edge hall]
url = ipc://$work/edge.sock
CONF

"$BUILD/bin/tandem-server" --config "$work/server.conf" 2>"$work/server.log" &
server=$!
wait_for "$work/server-status.sock" $server
"$BUILD/bin/tandem-client" --config "$work/client.conf" 2>"$work/client.log" &
client=$!
wait_for "$work/client-status.sock" $client
tries=0
until "$BUILD/bin/tandemctl" edges --socket "$work/client-status.sock" | grep -qE 'ready|up|connected'; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || fail "the edge was not reached"
    sleep 0.1
done
"$BUILD/bin/tandemctl" edges --socket "$work/client-status.sock"

"$BUILD/bin/tandem-demo" "$work/app.sock" deploy/models/samples $server
result=$?
[ $result -eq 0 ] || fail "something that was promised did not hold"

# One decision in full, as tandemctl explain ID tells it: the last cascade that went to the edge.
id=$("$BUILD/bin/tandemctl" decisions -n 100 --json --socket "$work/client-status.sock" |
    sed -n 's/.*"id":"\([0-9]*\)".*"route":"cascade".*"outcome":{"route":"edge:.*/\1/p' | tail -n 1)
if [ -n "$id" ]; then
    printf '\n$ tandemctl explain %s\n' "$id"
    "$BUILD/bin/tandemctl" explain "$id" --socket "$work/client-status.sock"
fi
