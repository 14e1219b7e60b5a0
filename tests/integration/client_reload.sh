#!/bin/sh
# SIGHUP to a real tandem-client: tasks and edges come and go, what is under way goes on, and a broken configuration changes nothing.
# usage: client_reload.sh BUILD
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
mkdir "$dir/tasks" "$dir/edge-tasks"
for task in objects commands; do
    sed "s|/usr/share/tandem/models|$top/deploy/models|" "$top/deploy/config/tasks.d/$task.conf" > "$dir/tasks/$task.conf"
done
cp "$dir/tasks"/*.conf "$dir/edge-tasks"
(umask 077 && echo 0123456789abcdef0123 > "$dir/token")
cat > "$dir/server.conf" <<END
[server]
listen = ipc://$dir/edge.sock
status_socket = $dir/server-status.sock
tasks_dir = $dir/edge-tasks
[tenant test]
token_file = $dir/token
END
config() { # the lines on standard input after the fixed ones
    printf '[client]\napp_socket = %s/app.sock\nstatus_socket = %s/status.sock\ntasks_dir = %s/tasks\nstate_dir =\n' "$dir" "$dir" "$dir"
    cat
}
edge() { # name
    printf '[edge %s]\nurl = ipc://%s/edge.sock\ntoken_file = %s/token\n' "$1" "$dir" "$dir"
}
picture=$top/deploy/models/samples/cat-0153.jpg
ask() {
    timeout 20 "$bin/tandemctl" run "$@" --json --socket "$dir/status.sock" 2>/dev/null
}
status() {
    "$bin/tandemctl" status --json --socket "$dir/status.sock" 2>/dev/null
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
    for _ in $(seq 200); do
        status | grep -q "$1" && return
        sleep 0.1
    done
}
reload() { # counter value: sends HUP and waits until it was carried out
    kill -HUP "$client"
    until_says "\"$1\":$2[,}]"
}
config < /dev/null > "$dir/client.conf"
"$bin/tandem-server" --config "$dir/server.conf" 2> "$dir/server.log" & server=$!
"$bin/tandem-client" --config "$dir/client.conf" 2> "$dir/client.log" & client=$!
until_says '"schema"'
for _ in $(seq 200); do # the connection is to be made at once
    grep -q 'listening on' "$dir/server.log" && break
    sleep 0.1
done

echo 'nonsense = 1' | config > "$dir/client.conf"
reload reload_failures 1
expect 'a broken configuration is named' 'reload: the old configuration stays: .*client.conf:6.*nonsense' "$(cat "$dir/client.log")"
config < /dev/null > "$dir/client.conf"
sed -i 's/^kind.*/kind = guess/' "$dir/tasks/objects.conf"
reload reload_failures 2
expect 'a broken task file is named' 'stays: .*objects.conf:.*kind' "$(cat "$dir/client.log")"
cp "$dir/edge-tasks/objects.conf" "$dir/tasks/objects.conf"
edge nowhere | sed 's/token_file.*/token_file = nothing/' | config > "$dir/client.conf"
reload reload_failures 3
expect 'a missing secret is named' 'stays: .*edge nowhere. token_file' "$(cat "$dir/client.log")"
expect 'the old one answers' '"outcome_route":"local"' "$(ask objects "$picture")"

edge den | config > "$dir/client.conf"
cp "$dir/tasks/objects.conf" "$dir/tasks/things.conf"
rm "$dir/tasks/commands.conf"
reload reloads 1
until_says '"state":"up"'
expect 'a new edge is used' '"outcome_route":"edge:den"' "$(ask objects "$picture" --route edge)"
expect 'a new task answers' '"outcome_route":"local"' "$(ask things "$picture")"
expect 'a removed task is unknown' '"error_code":-7' "$(ask commands walk)"
reload reloads 2
expect 'a connection that stays is kept' '"dials":1[,}]' "$(status)"

kill -STOP "$server"
ask objects "$picture" --route edge --deadline-ms 15000 > "$dir/under-way" & asked=$!
until_says '"in_flight":1'
cp "$dir/edge-tasks/commands.conf" "$dir/tasks/commands.conf"
mv "$dir/tasks/objects.conf" "$dir/tasks/a-thing.conf" # the others get other numbers
reload reloads 3
expect 'its task is gone' '"error_code":-7' "$(ask objects "$picture")"
kill -CONT "$server"
wait "$asked"
expect 'what is under way goes on' '"outcome_route":"edge:den".*"error_code":0' "$(cat "$dir/under-way")"
expect 'a task comes back, on the old connection' '"outcome_route":"edge:den"' "$(ask commands walk --route edge)"

expect 'the edge does not serve what is new' 'edge does not serve this task.*"error_code":-12' "$(ask a-thing "$picture" --route edge)"

edge hall | config | sed 's|^state_dir.*|state_dir = /nonexistent|' > "$dir/client.conf"
reload reloads 4
until_says '"name":"hall".*"state":"up"'
expect 'another edge, another name' '"outcome_route":"edge:hall"' "$(ask commands walk --route edge)"
expect 'the old name is unknown' 'no edge of this name' "$(ask commands walk --route edge:den)"
expect 'what needs a restart is said' 'state_dir changed: this needs a restart' "$(cat "$dir/client.log")"
# A reading that takes its time holds nobody up, and what was written meanwhile is read after it.
rm "$dir/client.conf"
mkfifo "$dir/client.conf"
kill -HUP "$client"
expect 'answers while it reads' '"error_code":0' "$(ask commands walk --route local)"
mv "$dir/client.conf" "$dir/slow.conf"
edge roof | config > "$dir/client.conf"
kill -HUP "$client"
expect 'and while it is told again' '"reloads":4[,}]' "$(status)"
edge attic | config > "$dir/slow.conf"
until_says '"name":"roof".*"state":"up"'
expect 'the last one is in force' '"reloads":6[,}].*"name":"roof"' "$(status)"
config < /dev/null > "$dir/client.conf"
kill -HUP "$client"
until_says '"edges":\[\],"counters"'
expect 'no edge is left' 'no edge connected.*"error_code":-12' "$(ask commands walk --route edge)"
kill -TERM "$client"
wait "$client"
expect 'stops with 0' '^0$' "$?"
client=''
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
