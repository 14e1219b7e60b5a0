#!/bin/sh
# latency.sh: both daemons on this machine with the shipped models, the edge over loopback TCP, and bench_latency asking them.
# Run by run.sh. The table goes to stdout, the CSV to $BUILD/bench/latency.csv. REQUESTS=300: of each kind.
set -eu
cd "$(dirname "$0")/../.."
: "${BUILD:=build}" "${REQUESTS:=300}"
work=$(mktemp -d)
server=
client=

# Ends what was started here, by process id, and nothing else.
stop() {
    for pid in $client $server; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 1' INT TERM

fail() {
    echo "latency.sh: $1" >&2
    for log in "$work"/*.log; do
        sed "s|^|  ${log##*/}: |" "$log" >&2
    done
    exit 1
}

# says SOCKET OPTIONS PATTERN PID: waits until the daemon's status has the pattern.
says() {
    tries=0
    # shellcheck disable=SC2086
    until "$BUILD/bin/tandemctl" status --json $2 --socket "$1" 2>/dev/null | grep -q "$3"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] && kill -0 "$4" 2>/dev/null || fail "no $3 in the status of $1"
        sleep 0.1
    done
}

mkdir -p "$work/tasks.d" "$work/state" "$BUILD/bench"
for task in deploy/config/tasks.d/*.conf; do
    sed "s|/usr/share/tandem/models|$PWD/deploy/models|" "$task" >"$work/tasks.d/${task##*/}"
done
(umask 077 && echo 0123456789abcdef0123 >"$work/token")
cat >"$work/server.conf" <<CONF
[server]
listen = tcp://127.0.0.1:0
status_socket = $work/server-status.sock
tasks_dir = $work/tasks.d
[tenant bench]
token_file = $work/token
CONF
"$BUILD/bin/tandem-server" --config "$work/server.conf" 2>"$work/server.log" &
server=$!
says "$work/server-status.sock" --server 'tcp://127.0.0.1:' $server
url=$("$BUILD/bin/tandemctl" status --json --server --socket "$work/server-status.sock" |
    sed 's|.*"\(tcp://127.0.0.1:[0-9]*\)".*|\1|')

cat >"$work/client.conf" <<CONF
[client]
app_socket = $work/app.sock
status_socket = $work/client-status.sock
tasks_dir = $work/tasks.d
state_dir = $work/state
[edge desk]
url = $url
token_file = $work/token
CONF
"$BUILD/bin/tandem-client" --config "$work/client.conf" 2>"$work/client.log" &
client=$!
says "$work/client-status.sock" '' '"state":"up"' $client

"$BUILD/tests/bench/bench_latency" "$work/app.sock" "$work/state/decisions.jsonl" deploy/models/samples "$REQUESTS" \
    "$BUILD/bench/latency.csv" || fail "the benchmark ended early"
