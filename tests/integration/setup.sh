#!/bin/sh
# deploy/setup.sh on a machine without anything, where it may not install: as a user without sudo, and where there is no apt, it
# prints the list of what is missing and exits 2; where all is there it says nothing.
set -u
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
chmod 755 "$work"
mkdir "$work/bin"
bad=0

complain() {
    echo "$1"
    bad=1
}

expect_list() { # expect_list NAME WHY
    [ $status -eq 2 ] || complain "$1: exit status $status, not 2"
    grep -q "$2" "$work/err" || complain "$1: does not say '$2': $(cat "$work/err")"
    sed -n '/ root:/d;/^[^#]/s/ .*//p' deploy/packages.txt | cmp - "$work/out" || complain "$1: the list on standard output is not what a user needs of deploy/packages.txt"
}

# Only what the script itself needs; `id` says that this is not root.
ln -s "$(command -v dirname)" "$work/bin/dirname"
printf '#!/bin/sh\necho 1000\n' >"$work/bin/id"
printf '#!/bin/sh\necho called >%s/apt-called\nexit 1\n' "$work" >"$work/bin/apt-get"
chmod 755 "$work/bin/id" "$work/bin/apt-get"
shell=$(command -v sh)
run() { env -i PATH="$work/bin" CC=no-compiler "$shell" deploy/setup.sh "$@" </dev/null >"$work/out" 2>"$work/err"; }

run
status=$?
expect_list "without sudo" "this needs root or sudo"
[ ! -e "$work/apt-called" ] || complain "without sudo: apt-get was called"
run --list
status=$?
expect_list "--list" "not everything is here"
# sudo that wants a password, and nobody to type it.
printf '#!/bin/sh\necho "sudo: a password is required" >&2\nexit 1\n' >"$work/bin/sudo"
chmod 755 "$work/bin/sudo"
run
status=$?
expect_list "sudo refuses" "apt could not install everything"
rm "$work/bin/apt-get"
run
status=$?
expect_list "no apt" "there is no apt-get here"

# Here, where the tests were built, nothing is missing.
said=$(deploy/setup.sh 2>&1) || complain "setup.sh fails where everything is there"
[ -z "$said" ] || complain "setup.sh is not silent: $said"
exit $bad
