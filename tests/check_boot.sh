#!/bin/bash
# Boots a real systemd in a container made of this machine's own /usr and a fresh `make install`, follows README.md to two
# running services with TLS between them, and looks at what systemd makes of them: readiness, who may use the sockets, restart
# after a kill, the watchdog, reload, drain, and what the journal says. Needs root and systemd-nspawn; part of `make check-long`.
# bash, because it holds functions with local names and waits in the container's namespaces.
set -u
cd "$(dirname "$0")/.."
: "${BUILD:=build}"
unset MAKEFLAGS MFLAGS DESTDIR PREFIX SYSCONFDIR LIBDIR
skip() { echo "$1"; exit 77; }
[ "$(id -u)" -eq 0 ] || skip "needs root"
command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed (package systemd-container)"
[ -x /usr/lib/systemd/systemd ] || skip "there is no systemd here"
[ -x "$BUILD/bin/tandem-server" ] || skip "nothing is built in $BUILD"

work=$(mktemp -d)
root=$work/root
stage=$work/stage
container=
init=
bad=0

complain() { echo "$1"; bad=1; }
die() { echo "$1"; cat "$work/boot.log"; exit 1; }

# The container is told to power off and waited for; then the groups that its boot leaves in the systemd hierarchy go.
finish() {
    if [ -n "$container" ]; then
        kill "$container" 2>/dev/null
        for _ in $(seq 100); do kill -0 "$container" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$container" 2>/dev/null
        wait "$container" 2>/dev/null
        rmdir /sys/fs/cgroup/systemd/payload /sys/fs/cgroup/systemd/supervisor 2>/dev/null
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

inside() { nsenter -t "$init" -m -u -i -n -p -C -- "$@" </dev/null; }
as() { # as UID[,GROUP] COMMAND...
    local ids=$1
    shift
    inside setpriv --reuid="${ids%%,*}" --regid="${ids%%,*}" --groups="$ids" -- "$@"
}
poll() { # poll SECONDS COMMAND...: until it succeeds
    local tries=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.2
    done
}
property() { inside systemctl show --value -p "$2" "tandem-$1"; }
is() { [ "$(property "$1" "$2")" = "$3" ]; }
edge_ready() { inside tandemctl edges --json | grep -q '"state":"up"'; }
gid_of() { sed -n "s/^$1:[^:]*:\([0-9]*\):.*/\1/p" "$root/etc/group"; }

# ---- a root with nothing in it but what booting needs ----
make --no-print-directory BUILD="$BUILD" DESTDIR="$stage" install || die "make install failed"
mkdir -p "$root"/{usr,etc,var/lib,var/log,var/tmp,run,proc,sys,dev,tmp,root,srv}
for folder in bin sbin lib lib64; do [ ! -e /usr/$folder ] || ln -s usr/$folder "$root/$folder"; done
for file in nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives; do
    [ ! -e /etc/$file ] || cp -a /etc/$file "$root/etc/"
done
printf '%s\n' root:x:0:0::/root:/bin/sh nobody:x:65534:65534::/:/bin/false member:x:1500:1500::/:/bin/sh \
    stranger:x:1501:1501::/:/bin/sh >"$root/etc/passwd"
printf '%s\n' root:x:0: nogroup:x:65534: member:x:1500: stranger:x:1501: >"$root/etc/group"
: >"$root/etc/machine-id"
echo 'ID=test' >"$root/etc/os-release"
mkdir "$root/etc/ssl" && cp /etc/ssl/openssl.cnf "$root/etc/ssl/"
cp -a "$stage/etc/tandem" "$root/etc/"
cp -r deploy/models/samples "$root/srv/"
picture=/srv/samples/$(basename "$(ls deploy/models/samples/*.jpg | head -n 1)")
systemd-nspawn -q -D "$root" --bind-ro=/usr --bind-ro="$stage/usr/local:/usr/local" --private-network --register=no --keep-unit \
    --machine="tandem-boot-$$" --console=pipe --boot systemd.unit=multi-user.target </dev/null >"$work/boot.log" 2>&1 &
container=$!
leader() { init=$(tr -d ' ' 2>/dev/null </proc/$container/task/$container/children) && [ -n "$init" ]; }
poll 20 leader || skip "systemd-nspawn cannot start a container here: $(tail -n 1 "$work/boot.log")"
leader
up() { case $(inside systemctl is-system-running) in running | degraded) ;; *) return 1 ;; esac; }
poll 60 up || skip "systemd does not come up in a container here"

# ---- what README.md says, word by word ----
inside systemd-sysusers || complain "systemd-sysusers failed"
inside systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/tandem.conf || complain "systemd-tmpfiles failed"
certs=/usr/local/share/tandem/certs.sh
{
    inside $certs /root/certs ca && inside $certs /root/certs server edge1 127.0.0.1 && inside $certs /root/certs client robots &&
        inside sh -c 'install -m 644 /root/certs/ca.pem /root/certs/edge1.pem /root/certs/robots.pem /etc/tandem/keys' &&
        inside install -m 400 -o tandem-server /root/certs/edge1.key /etc/tandem/keys &&
        inside install -m 400 -o tandem-client /root/certs/robots.key /etc/tandem/keys
} >/dev/null || die "certs.sh failed"
tls() { printf '[tls]\ncert = /etc/tandem/keys/%s.pem\nkey = /etc/tandem/keys/%s.key\nca = /etc/tandem/keys/ca.pem\n' "$1" "$1"; }
{ sed '/^\[tls\]/d' "$root/etc/tandem/server.conf" && tls edge1; } >"$work/server.conf"
{ sed '/^\[tls\]/d' "$root/etc/tandem/client.conf" && printf '[edge hall]\nurl = tcp://127.0.0.1:7447\n' && tls robots; } >"$work/client.conf"
cp "$work"/*.conf "$root/etc/tandem/"
# A watchdog of 30 s is too slow to look at.
for daemon in server client; do
    mkdir -p "$root/etc/systemd/system/tandem-$daemon.service.d"
    printf '[Service]\nWatchdogSec=3\n' >"$root/etc/systemd/system/tandem-$daemon.service.d/watchdog.conf"
done
inside systemctl daemon-reload
for daemon in server client; do
    inside systemctl enable --now "tandem-$daemon" 2>"$work/boot.log" ||
        die "tandem-$daemon does not start: $(inside journalctl -n 20 -u "tandem-$daemon")"
    is $daemon ActiveState active || complain "tandem-$daemon is $(property $daemon ActiveState) after start, so it was never ready"
    echo "$daemon: $(property $daemon StatusText)"
done
poll 30 edge_ready || complain "the edge is not reached: $(inside tandemctl edges)"

# ---- who may ask ----
inside usermod -aG tandem member || complain "usermod failed"
member=1500,$(gid_of tandem)
said=$(as "$member" tandemctl run objects $picture --route edge --deadline-ms 5000 --json) || complain "a member of tandem is refused: $said"
id=$(echo "$said" | sed -n 's/.*"id":"\{0,1\}\([0-9]*\).*/\1/p')
echo "$said" | grep -q '"outcome_route":"edge:hall"' || complain "not answered by the edge: $said"
as "$member" tandemctl status >/dev/null || complain "a member of tandem cannot ask for the status"
as "$member" tandemctl status --server >/dev/null || complain "a member of tandem cannot ask the server"
for command in "run objects $picture" status "status --server"; do
    # shellcheck disable=SC2086
    said=$(as 1501 tandemctl $command 2>&1) && complain "a stranger may: tandemctl $command"
    echo "stranger: $said"
done

# ---- the journal ----
for daemon in server client; do
    inside journalctl -u "tandem-$daemon" >"$work/journal"
    grep -q "\b$id\b" "$work/journal" || complain "the journal of tandem-$daemon does not name decision $id"
    grep -i 'error' "$work/journal"
done

# ---- the watchdog is fed, by the loop and not otherwise ----
for daemon in server client; do
    fed=$(property $daemon WatchdogTimestampMonotonic)
    again() { [ "$(property $daemon WatchdogTimestampMonotonic)" -gt "$fed" ]; }
    poll 20 again || complain "the watchdog of tandem-$daemon is not fed"
done
inside sh -c "kill -STOP $(property client MainPID)"
restarted() { [ "$(property "$1" NRestarts)" -ge "$2" ] && is "$1" ActiveState active; }
poll 60 restarted client 1 || complain "a tandem-client that hangs is not restarted"

# ---- a kill ----
for daemon in server client; do
    restarts=$(property $daemon NRestarts)
    inside sh -c "kill -KILL $(property $daemon MainPID)"
    poll 60 restarted $daemon $((restarts + 1)) || complain "tandem-$daemon is not restarted after a kill"
done
poll 60 edge_ready || complain "the edge is not reached after both were killed"
as "$member" tandemctl run commands 'walk twice' >/dev/null || complain "no answer after both were killed"

# ---- reload ----
for daemon in server client; do
    pid=$(property $daemon MainPID)
    inside systemctl reload "tandem-$daemon" || complain "systemctl reload tandem-$daemon failed"
    is $daemon ActiveState active && is $daemon MainPID "$pid" || complain "tandem-$daemon did not live through a reload"
done
poll 30 edge_ready || complain "the edge is not reached after a reload"
as "$member" tandemctl run objects $picture --route edge --deadline-ms 5000 >/dev/null || complain "no answer after a reload"

# ---- stop ----
for daemon in client server; do
    inside systemctl stop "tandem-$daemon" || complain "systemctl stop tandem-$daemon failed"
    [ "$(property $daemon Result) $(property $daemon ExecMainCode) $(property $daemon ExecMainStatus)" = "success 1 0" ] ||
        complain "tandem-$daemon did not end well: $(property $daemon Result) $(property $daemon ExecMainStatus)"
done
inside sh -c 'ls /run/tandem-client /run/tandem-server' >/dev/null 2>&1 && complain "the sockets' folders are still there"
[ "$(stat -c %a "$root/var/lib/tandem-client")" = 700 ] || complain "/var/lib/tandem-client is open to others"
grep -q "\"$id\"\|:$id\b" "$root/var/lib/tandem-client/decisions.jsonl" || complain "decisions.jsonl lacks decision $id"
[ $bad -eq 0 ] || inside journalctl --no-pager -u tandem-client -u tandem-server | tail -n 60
exit $bad
