# lib_site.sh: both daemons on the rig, the request stream, and what is checked of them. Sourced by net.sh after lib_rig.sh.
# $work is a folder in the private /run: sockets, configurations and logs vanish with the namespaces.
# Reads: TLS (1: TLS 1.3 on both sides, else a token), APPS, PICTURES, COMMANDS (a second and application), SIDE (of a picture),
# UPLOAD (the task's key: pictures as they come, 30 KB, or as the client sees fit).
: "${TLS:=0}" "${UPLOAD:=original}" "${APPS:=1}" "${PICTURES:=10}" "${COMMANDS:=3}" "${SIDE:=100}"
bad=0
checks=0

fail() {
    echo "FAILED: $*"
    bad=$((bad + 1))
}

# check WORDS TEST...: counts, and says what does not hold.
check() {
    checks=$((checks + 1))
    words=$1
    shift
    "$@" || fail "$words ($*)"
}

logs_show() {
    for log in "$work"/*.log; do
        [ ! -s "$log" ] || sed "s|^|  ${log##*/}: |" "$log"
    done
}

give_up() {
    echo "FAILED: $*"
    logs_show
    exit 1
}

site_configure() { # site_configure LINKS
    mkdir "$work/tasks" "$work/state"
    for task in "$top"/deploy/config/tasks.d/*.conf; do
        sed "s|/usr/share/tandem/models|$top/deploy/models|" "$task" >"$work/tasks/${task##*/}"
        grep -q '^kind = generate' "$task" || sed -i "s/^\[task\]/&\nupload = $UPLOAD/" "$work/tasks/${task##*/}"
    done
    cat >"$work/client.conf" <<CONF
[client]
app_socket = $work/app.sock
status_socket = $work/client.sock
tasks_dir = $work/tasks
state_dir = $work/state
result_cache_bytes = 0
$([ "$TLS" -ne 0 ] || echo 'allow_plaintext = yes')
CONF
    (umask 077 && echo 0123456789abcdef0123456789abcdef >"$work/token")
    [ "$TLS" -eq 0 ] || "$top/deploy/certs.sh" "$work/keys" ca >/dev/null || return 1
    for k in $(seq "$1"); do
        cat >"$work/server$k.conf" <<CONF
[server]
listen = tcp://10.78.$k.2:7700
status_socket = $work/server$k.sock
tasks_dir = $work/tasks
CONF
        printf '[edge edge%d]\nurl = tcp://10.78.%d.2:7700\n' "$k" "$k" >>"$work/client.conf"
        if [ "$TLS" -eq 0 ]; then
            printf 'allow_plaintext = yes\n[tenant robot]\ntoken_file = %s/token\n' "$work" >>"$work/server$k.conf"
            printf 'token_file = %s/token\n' "$work" >>"$work/client.conf"
        else
            "$top/deploy/certs.sh" "$work/keys" server "edge$k" "10.78.$k.2" >/dev/null || return 1
            printf '[tls]\ncert = %s/keys/edge%d.pem\nkey = %s/keys/edge%d.key\nca = %s/keys/ca.pem\n' \
                "$work" "$k" "$work" "$k" "$work" >>"$work/server$k.conf"
        fi
    done
    if [ "$TLS" -ne 0 ]; then
        "$top/deploy/certs.sh" "$work/keys" client robot >/dev/null || return 1
        printf '[tls]\ncert = %s/keys/robot.pem\nkey = %s/keys/robot.key\nca = %s/keys/ca.pem\n' "$work" "$work" "$work" >>"$work/client.conf"
    fi
}

says() { # says DAEMON: its status
    "$BUILD/bin/tandemctl" status --json --socket "$work/$1.sock" 2>/dev/null
}

edge_state() { # edge_state NUMBER: of the client's edge
    says client | sed -n "s/.*\"name\":\"edge$1\"[^}]*\"state\":\"\\([a-z]*\\)\".*/\\1/p"
}

site_start() { # site_start LINKS
    links=$1
    site_configure "$1" || give_up "no configuration"
    for k in $(seq "$1"); do
        ip netns exec edge"$k" "$BUILD/bin/tandem-server" --config "$work/server$k.conf" 2>"$work/server$k.log" &
        eval "server$k=\$!"
        rig_wait "says server$k >/dev/null || ! kill -0 \$server$k" && says server$k >/dev/null || give_up "tandem-server does not come up"
    done
    ip netns exec robot "$BUILD/bin/tandem-client" --config "$work/client.conf" 2>"$work/client.log" &
    client=$!
    rig_wait 'says client >/dev/null || ! kill -0 $client' && says client >/dev/null || give_up "tandem-client does not come up"
    for k in $(seq "$1"); do
        rig_wait "[ \"\$(edge_state $k)\" = up ]" || give_up "edge$k is not reached"
    done
}

# The daemon's open descriptors, and its resident memory without files, in KiB.
fds() { ls "/proc/$1/fd" | wc -l; }
memory() { sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$1/status"; }

# What must be the same after the run as before it. The first requests fill caches and pools, so a short run comes before.
site_measure() {
    client_fds=$(fds "$client") client_memory=$(memory "$client")
    server_fds=$(fds "$server1") server_memory=$(memory "$server1")
}

site_check_leaks() {
    # What was cut off closes within its idle time.
    check "the client's descriptors are as before" rig_wait "[ \$(fds $client) -le $client_fds ]"
    check "the server's descriptors are as before" rig_wait "[ \$(fds $server1) -le $server_fds ]"
    check "the client's memory is bounded" [ "$(memory "$client")" -lt $((client_memory + 32768)) ]
    check "the server's memory is bounded" [ "$(memory "$server1")" -lt $((server_memory + 32768)) ]
    echo "descriptors: client $client_fds -> $(fds "$client"), server $server_fds -> $(fds "$server1");" \
        "memory: client $client_memory -> $(memory "$client") KiB, server $server_memory -> $(memory "$server1") KiB"
}

# stopped WORDS PID: TERM ends it within the patience, with status 0.
stopped() {
    kill -TERM "$2"
    rig_wait "! kill -0 $2 2>/dev/null || grep -q '^State:.Z' /proc/$2/status 2>/dev/null" || kill -KILL "$2"
    wait "$2"
    status=$?
    check "$1 stops cleanly" [ $status -eq 0 ]
}

site_stop() {
    stopped tandem-client "$client"
    for k in $(seq "$links"); do
        eval "stopped tandem-server \$server$k"
        check "nothing of the robot's requests is left on edge$k" sh -c "! grep -q 'drain_timeout_ms is over' '$work/server$k.log'"
    done
}

# ---- the stream ----

stream_start() {
    mkfifo "$work/stream"
    ip netns exec robot "$BUILD/tests/net/stream" "$work/app.sock" "$work/client.sock" "$top/deploy/models/samples" \
        "$work/requests.csv" "$APPS" "$PICTURES" "$COMMANDS" "$SIDE" <"$work/stream" >"$work/stream.out" 2>"$work/stream.log" &
    stream=$!
    exec 9>"$work/stream"
    rig_wait 'grep -q "start begins" "$work/stream.out"' || give_up "the stream does not start"
}

phase_ends() { # keeps the rate of the first link, to be set beside what the client believes of it
    echo "${phase:-start} $rate1" >>"$work/rates"
}

phase() { # phase NAME: begins; the change of the link that it is named for comes right after
    phase_ends
    phase=$1
    echo "phase $1" >&9
    rig_wait "grep -q '^$1 begins' '$work/stream.out'" || give_up "the stream does not answer"
}

stream_stop() {
    phase_ends
    echo end >&9
    exec 9>&-
    wait "$stream"
    status=$?
    check "every accepted request ended exactly once" [ $status -eq 0 ]
    grep '=' "$work/stream.out"
    while read -r name kbit; do
        echo "$name: edge1 has $((kbit / 1000)).$((kbit % 1000 / 100)) Mbit/s, believed at its end: $(value "$name" estimate1_mbit | sed 's/^$/?/')"
    done <"$work/rates"
}

# value PHASE KEY: of the stream's summary, as a whole number; "" when there is none.
value() {
    sed -n "s/^phase=$1 .* $2=\\(-\\{0,1\\}[0-9]*\\).*/\\1/p;s/^phase=$1 $2=\\([0-9]*\\).*/\\1/p" "$work/stream.out" | head -n 1
}

state() { # state PHASE: of the first edge when the phase ended
    sed -n "s/^phase=$1 .* edge1=\\([a-z]*\\) .*/\\1/p" "$work/stream.out"
}

total() { # total KEY: over all phases
    sed -n "s/^phase=.* $1=\\([0-9]*\\).*/\\1/p" "$work/stream.out" | awk '{ sum += $1 } END { print sum + 0 }'
}
