#!/bin/sh
# The units verify without a word (systemd-analyze verify returns 0 on unknown keys, so any output is a failure) and score at
# most 2.0 offline. sysusers and tmpfiles files are tried in an empty root.
set -u
cd "$(dirname "$0")/.."
command -v systemd-analyze >/dev/null 2>&1 || { echo "systemd-analyze is not installed"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
bad=0

complain() {
    echo "$1"
    bad=1
}

for unit in systemd/*.service; do
    name=${unit##*/}
    # The programs are not installed where tests run: point the unit at one that is there.
    sed -e 's|^ExecStart=/usr/bin/[a-z-]*|ExecStart=/bin/true|' -e '/^Documentation=/d' "$unit" >"$work/$name"
    grep -q '^ExecStart=/usr/bin/tandem-[a-z]* --config /etc/tandem/[a-z]*\.conf$' "$unit" ||
        complain "$unit: ExecStart is not what install rewrites"
    said=$(systemd-analyze verify --man=no "$work/$name" 2>&1)
    status=$?
    [ "$status" -eq 0 ] && [ -z "$said" ] || complain "$unit: verify (status $status): $said"
    said=$(systemd-analyze security --offline=true --threshold=20 --no-pager "$work/$name" 2>&1) ||
        complain "$said"
    echo "$said" | tail -n 1
done

# The check itself must be able to fail.
sed 's/^NoNewPrivileges=/NoNewPrivilegs=/' "$work/tandem-server.service" >"$work/broken.service"
[ -n "$(systemd-analyze verify --man=no "$work/broken.service" 2>&1)" ] || complain "verify does not see an unknown key"

if command -v systemd-sysusers >/dev/null 2>&1; then
    mkdir -p "$work/root/etc" "$work/root/usr/lib/sysusers.d" "$work/root/usr/lib/tmpfiles.d"
    cp systemd/sysusers.d/tandem.conf "$work/root/usr/lib/sysusers.d/"
    cp systemd/tmpfiles.d/tandem.conf "$work/root/usr/lib/tmpfiles.d/"
    if [ "$(id -u)" -eq 0 ]; then
        said=$(systemd-sysusers --root="$work/root" 2>&1) || complain "sysusers: $said"
        for user in tandem-server tandem-client; do
            grep -q "^$user:" "$work/root/etc/passwd" || complain "sysusers made no $user"
            grep -q "^tandem:.*[:,]$user\(,\|\$\)" "$work/root/etc/group" || complain "$user is not in the group tandem"
        done
        said=$(systemd-tmpfiles --root="$work/root" --create 2>&1) || complain "tmpfiles: $said"
        [ "$(stat -c %a "$work/root/etc/tandem/keys" 2>/dev/null)" = 750 ] || complain "tmpfiles made no /etc/tandem/keys: $said"
    else
        said=$(systemd-sysusers --root="$work/root" --dry-run 2>&1) || complain "sysusers: $said"
    fi
fi
exit $bad
