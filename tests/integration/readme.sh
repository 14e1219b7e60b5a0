#!/bin/sh
# The commands of README's "By hand, without root", as they are printed: they end, they answer, and what they started is gone.
# usage: readme.sh, with BUILD
set -u
cd "$(dirname "$0")/../.."
: "${BUILD:=build}"
[ -z "${SANITIZE:-}" ] || { echo "skipped: README's commands are those of a build without sanitizers"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
bad=0

complain() {
    echo "$1"
    bad=1
}

has() { # has WHAT PATTERN
    grep -q -e "$2" "$work/out" || complain "$1: nothing like '$2' in:
$(cat "$work/out")"
}

unset MAKEFLAGS MFLAGS TANDEM_SOCKET TANDEM_STATUS_SOCKET
{
    echo 'set -e; trap "kill \$server \$client 2>/dev/null || true" EXIT'
    awk '/^## /{on = /By hand/} on && /^```/{code = !code; next} on && code' README.md |
        sed "s|^make install|make --no-print-directory BUILD='$BUILD' install|"
    echo 'wait || true'
    echo 'echo "sockets left: $(find $t -type s)"'
} >"$work/commands"
TMPDIR=$work timeout 60 sh "$work/commands" >"$work/out" 2>&1 || complain "README's commands end with $?"
has 'the picture' '^cat  *0\.'
has 'the command' '^I_JUMP I_JUMP I_TURN_LEFT I_WALK$'
has 'the decisions' ' commands .* ok '
has 'the story' '^decision [0-9]*: commands, '
has 'the server' '^daemon  *tandem-server$'
has 'without an edge' '^decision [0-9]*: .*answered by local in '
has 'the edge that is gone' '^hall .* waiting '
has 'the end' '^sockets left: $'
exit $bad
