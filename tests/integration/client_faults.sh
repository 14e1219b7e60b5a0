#!/bin/sh
# A real tandem-client and a real tandem-server on temporary sockets: every route, and what happens when things break.
# usage: client_faults.sh BUILD
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
mkdir "$dir/tasks" "$dir/state"
for task in objects commands; do
    sed "s|/usr/share/tandem/models|$top/deploy/models|" "$top/deploy/config/tasks.d/$task.conf" > "$dir/tasks/$task.conf"
done
(umask 077 && echo 0123456789abcdef0123 > "$dir/token")
cat > "$dir/server.conf" <<END
[server]
listen = ipc://$dir/edge.sock
status_socket = $dir/server-status.sock
tasks_dir = $dir/tasks
[tenant test]
token_file = $dir/token
END
cat > "$dir/client.conf" <<END
[client]
app_socket = $dir/app.sock
status_socket = $dir/status.sock
tasks_dir = $dir/tasks
state_dir = $dir/state
result_cache_bytes = 0
# An edge that is never wrong and errors that are dear: what is not forced goes to the edge, insured.
[policy]
edge_error = 0
one_error_ms = 100000
[edge den]
url = ipc://$dir/edge.sock
token_file = $dir/token
END
picture=$top/deploy/models/samples/cat-0153.jpg
ask() { # task input options...: the JSON of one request
    timeout 60 "$bin/tandemctl" run "$@" --json --socket "$dir/status.sock" 2>/dev/null
}
expect() { # name pattern text
    if printf '%s' "$3" | grep -q "$2"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s: wanted %s in: %s\n' "$1" "$2" "$3"
    fi
}
until_says() { # pattern: waits for the client's status to say it
    for _ in $(seq 600); do
        "$bin/tandemctl" status --json --socket "$dir/status.sock" 2>/dev/null | grep -q "$1" && return
        sleep 0.1
    done
    echo "never said: $1"
}
"$bin/tandem-client" --config "$dir/client.conf" 2> "$dir/client.log" & client=$!
until_says '"schema"'
expect 'ready without any edge' '"outcome_route":"local"' "$(ask objects "$picture")"
"$bin/tandem-server" --config "$dir/server.conf" 2> "$dir/server.log" & server=$!
until_says '"state":"up"'
expect local '"outcome_route":"local"' "$(ask objects "$picture" --route local)"
expect edge '"outcome_route":"edge:den"' "$(ask objects "$picture" --route edge)"
expect 'edge by name' '"outcome_route":"edge:den"' "$(ask commands 'walk twice' --route edge:den)"
expect cascade '"route":"cascade"' "$(ask objects "$picture" --route cascade)"
expect 'text here' '"outcome_route":"local"' "$(ask commands 'jump' --route local)"
expect 'unknown task' '"error_code":-7' "$(ask nosuch hello)"
expect 'not a picture' '"error_code":-4' "$(ask objects "$top/Makefile" --route local)"
head -c 3000 /dev/zero | tr '\0' x | timeout 2 nc -NU "$dir/app.sock" > /dev/null 2>&1
head -c 3000 /dev/zero | tr '\0' x | timeout 2 nc -NU "$dir/status.sock" > /dev/null 2>&1
expect 'after strangers' '"error_code":0' "$(ask objects "$picture" --route local)"
expect 'a session on the edge' '"outcome_route":"edge:den"' "$(ask commands 'jump' --route edge --session talk)"
kill -STOP "$server"
expect 'edge stopped: insured' '"route":"edge:den","outcome_route":"local".*"met_deadline":true' "$(ask objects "$picture" --deadline-ms 5000)"
(sleep 0.3; kill -KILL "$server") &
expect 'edge killed under a forced route: not local' '"outcome_route":null.*"error_code":-12' "$(ask objects "$picture" --route edge --deadline-ms 50000)"
wait "$server" 2>/dev/null
"$bin/tandem-server" --config "$dir/server.conf" 2> "$dir/server.log" & server=$!
until_says '"state":"up"'
said=$(ask commands 'walk' --route edge --session talk)
expect 'the new edge is sent the whole session' '"outcome_route":"edge:den".*"error_code":0' "$said"
id=$(printf '%s' "$said" | sed 's/.*"id":"\([0-9]*\)".*/\1/')
expect 'under the same id: refused' "request $id: .*TANDEM_EPREFIX" "$(cat "$dir/server.log")"
expect 'under the same id: answered' "request $id: .*answered" "$(cat "$dir/server.log")"
(sleep 0.05; kill -KILL "$server") &
expect 'edge killed during' '"error_code":0' "$(ask objects "$picture" --deadline-ms 20000)"
wait "$server" 2>/dev/null
server=''
expect 'edge killed before' '"outcome_route":"local"' "$(ask objects "$picture" --deadline-ms 20000)"
expect 'a forced edge that is gone' '"outcome_route":null.*no edge connected.*"error_code":-12' "$(ask objects "$picture" --route edge)"
expect 'a forced edge nobody knows' 'no edge of this name: attic.*"error_code":-12' "$(ask objects "$picture" --route edge:attic)"
expect 'decisions on disk' '"outcome":{' "$(tail -1 "$dir/state/decisions.jsonl")"
id=$(printf '%s' "$(ask objects "$picture")" | sed 's/.*"id":"\([0-9]*\)".*/\1/')
kill -KILL "$client"
wait "$client" 2>/dev/null
mv "$dir/state/decisions.jsonl" "$dir/decisions.jsonl"
ln -s /dev/full "$dir/state/decisions.jsonl"
"$bin/tandem-client" --config "$dir/client.conf" 2> "$dir/client.log" & client=$!
until_says '"schema"'
said=$(ask objects "$picture")
expect 'the disk is full: answered' '"error_code":0' "$said"
expect 'and again' '"error_code":0' "$(ask commands 'walk')"
until_says '"decision_lines_lost":2' # the disk is written at most once a second
expect 'the lost lines are counted' '"decision_lines_lost":2' \
    "$("$bin/tandemctl" status --json --socket "$dir/status.sock")"
expect 'and said once' '^1$' "$(grep -c 'decisions are lost' "$dir/client.log")"
again=$(printf '%s' "$said" | sed 's/.*"id":"\([0-9]*\)".*/\1/')
expect 'ids rise over a kill' '^yes$' "$([ "$again" -gt "$id" ] && echo yes || echo "$id, then $again")"
kill -TERM "$client"
wait "$client"
expect 'stops with 0' '^0$' "$?"
client=''
echo '[client]
nonsense = 1' > "$dir/bad.conf"
expect 'a bad key is named' 'bad.conf:2' "$("$bin/tandem-client" --config "$dir/bad.conf" --check-config 2>&1)"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
