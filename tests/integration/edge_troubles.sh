#!/bin/sh
# What is said of edges that cannot be used: in the log once, in the status, and as the reason of a decision; and how soon
# an edge that comes back is used. Real daemons on temporary sockets. usage: edge_troubles.sh BUILD
set -u
bin=$(cd "${1:-${BUILD:-build}}" && pwd)/bin
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
passed=0 failed=0 server='' client=''
finish() {
    [ -n "$client" ] && kill -KILL "$client" 2>/dev/null
    [ -n "$server" ] && kill -KILL "$server" 2>/dev/null
    rm -rf "$dir"
}
trap finish EXIT
mkdir "$dir/here" "$dir/there" "$dir/state"
models=$top/deploy/models
printf '[task]\nkind = classify\nlabels = a,b,c,d,e,f,g,h,i,j\n[local]\nmodel = %s\n' "$models/objects-local.gguf" > "$dir/here/objects.conf"
printf '[task]\nkind = classify\n[edge]\nmodel = %s\n' "$models/objects-edge.gguf" > "$dir/there/objects.conf"
(umask 077 && echo 0123456789abcdef0123 > "$dir/token")
printf '[server]\nlisten = ipc://%s/edge.sock\nstatus_socket = %s/server.sock\ntasks_dir = %s/there\n[tenant t]\ntoken_file = %s/token\n' \
    "$dir" "$dir" "$dir" "$dir" > "$dir/server.conf"
printf '[client]\napp_socket = %s/app.sock\nstatus_socket = %s/status.sock\ntasks_dir = %s/here\nstate_dir = %s/state\n' \
    "$dir" "$dir" "$dir" "$dir" > "$dir/client.conf"
printf '[edge attic]\nurl = ipc://%s/nobody.sock\ntoken_file = %s/token\n[edge den]\nurl = ipc://%s/edge.sock\ntoken_file = %s/token\n[edge yard]\nurl = ipc://%s/nobody.sock\ntoken_file = %s/token\n' \
    "$dir" "$dir" "$dir" "$dir" "$dir" "$dir" >> "$dir/client.conf"
expect() { # expect NAME PATTERN TEXT
    if printf '%s' "$3" | grep -q "$2"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s: wanted %s in: %s\n' "$1" "$2" "$3"
    fi
}
status() {
    timeout 60 "$bin/tandemctl" status --json --socket "$dir/status.sock" 2>/dev/null
}
until_says() { # the client's status
    for _ in $(seq 600); do
        status | grep -q "$1" && return
        sleep 0.1
    done
    echo "never said: $1"
}
server_start() {
    "$bin/tandem-server" --config "$dir/server.conf" 2>> "$dir/server.log" &
    server=$!
}
lines() { # lines PATTERN: how many of the client's log have it
    grep -c "$1" "$dir/client.log"
}
"$bin/tandem-client" --config "$dir/client.conf" 2> "$dir/client.log" &
client=$!
until_says '"dials":[3-9].*"dials":[3-9].*"dials":[3-9]' # so that retries have failed as the first attempt did
expect 'said once' '^1$' "$(lines 'warning: edge attic: ipc://.*nobody.sock: ')"
expect 'each edge' '^1$' "$(lines 'warning: edge den: ipc://.*edge.sock: ')"
expect 'when it tries again' '"name":"attic"[^}]*"next_attempt_ms":[0-9]' "$(until_says '"next_attempt_ms":[0-9]'; status)"
server_start
until_says '"name":"den"[^}]*"state":"up"'
# On a starved machine it may seem silent in between.
expect 'no old reason while connected' '"name":"den"[^}]*"state":"\(up\|silent\)","why":null' "$(status)"
expect 'once up' '^1$' "$(lines 'edge den: connected')"
words='labels differ: 10 on both sides, but not the same words'
expect 'in the log' "$words" "$(cat "$dir/client.log")"
expect 'in the status' "$words" "$(status)"
expect 'in edges' "$words" "$("$bin/tandemctl" edges --socket "$dir/status.sock")"
answer=$(timeout 60 "$bin/tandemctl" run objects "$models/samples/cat-0153.jpg" --json --socket "$dir/status.sock")
expect 'in the reason' "\"reason\":\"$words" "$answer"
kill -KILL "$server"
wait "$server" 2>/dev/null
until_says '"name":"den"[^}]*"state":"waiting"'
expect 'lost' 'edge den: connection lost' "$(cat "$dir/client.log")"
server_start
until_says '"name":"den"[^}]*"state":"up"'
expect 'up again' '^2$' "$(lines 'edge den: connected')"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] || { cat "$dir/server.log" "$dir/client.log"; exit 1; }
