#!/bin/sh
# Wrong use of any of the four programs is one line on standard error, nothing on standard output, and exit status 2; --help and
# --version are on standard output with 0, also behind a command.
set -u
cd "$(dirname "$0")/../.."
: "${BUILD:=build}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
bad=0

complain() {
    echo "$1"
    bad=1
}

while read -r command; do
    # shellcheck disable=SC2086
    "$BUILD/bin/"$command </dev/null >"$work/out" 2>"$work/err"
    status=$?
    [ $status -eq 2 ] || complain "$command: exit status $status, not 2"
    [ ! -s "$work/out" ] || complain "$command: writes to standard output"
    [ "$(wc -l <"$work/err")" -eq 1 ] || complain "$command: not one line: $(cat "$work/err")"
done <<'WRONG'
tandem-server
tandem-client
tandem-server --nope
tandem-client --config
tandem-client --config=x extra
tandem-client -c x
tandemctl nope
tandemctl status extra
tandemctl status --nope
tandemctl decisions -n 0
tandemctl decisions -n
tandemctl explain
tandemctl explain abc
tandemctl run objects
tandemctl edges --server
tandem-model nope
tandem-model info
tandem-model info x --prompt y
tandem-model run x --top-k -1
tandem-model run x --seed
WRONG

for command in "tandem-server --help" "tandem-client --help" "tandemctl --help" "tandem-model --help" "tandemctl run --help" \
    "tandem-model run --help" "tandem-server --version" "tandem-client --version" "tandemctl --version" "tandem-model --version"; do
    # shellcheck disable=SC2086
    "$BUILD/bin/"$command >"$work/out" 2>"$work/err" || complain "$command: exit status is not 0"
    [ -s "$work/out" ] && [ ! -s "$work/err" ] || complain "$command: not on standard output"
done
exit $bad
