#!/bin/sh
# deploy/certs.sh with wrong words: one line that says what is wrong, nothing half-made left, and the next try works.
set -u
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
dir=$work/certs
bad=0

complain() {
    echo "$1"
    bad=1
}
files() { (cd "$dir" && find . -type f | sort | tr '\n' ' '); }

refused() { # refused PATTERN WORDS...: with DAYS as the caller has set it
    pattern=$1
    shift
    before=$(files)
    deploy/certs.sh "$dir" "$@" >"$work/out" 2>"$work/err" && complain "not refused: $*"
    [ ! -s "$work/out" ] || complain "$*: printed $(cat "$work/out")"
    [ "$(wc -l <"$work/err")" -eq 1 ] || complain "$*: not one line: $(cat "$work/err")"
    grep -q "$pattern" "$work/err" || complain "$*: wanted '$pattern' in: $(cat "$work/err")"
    [ "$(files)" = "$before" ] || complain "$*: left $(files)"
    [ -z "$(find "$dir" -name '.half*')" ] || complain "$*: left its own folder"
}
made() { # made NAME WORDS...
    name=$1
    shift
    said=$(deploy/certs.sh "$dir" "$@" 2>&1) || complain "$*: $said"
    [ -s "$dir/$name.pem" ] && [ -s "$dir/$name.key" ] || complain "$*: no files"
    [ "$(stat -c %a "$dir/$name.key")" = 600 ] || complain "$*: the key is open to others"
}

mkdir "$dir"
export DAYS=abc
refused 'DAYS.*abc' ca
DAYS=99999999999999
refused '99999999999999' ca
unset DAYS
made ca ca
refused 'ip address: value=127.0.0.1.5' server den 127.0.0.1.5
DAYS=abc
export DAYS
refused 'DAYS.*abc' server den 127.0.0.1
refused 'DAYS.*abc' client robot
unset DAYS
made den server den 127.0.0.1
made robot client robot
refused 'already there' server den 127.0.0.1
cp "$dir/ca.pem" "$work/ca.pem"
echo junk >"$dir/ca.pem"
refused 'ca.pem' client other
cp "$work/ca.pem" "$dir/ca.pem"
made other client other
openssl verify -CAfile "$dir/ca.pem" "$dir/den.pem" "$dir/robot.pem" "$dir/other.pem" >/dev/null || complain "not verified"
exit $bad
