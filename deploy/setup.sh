#!/bin/sh
# Looks for what deploy/packages.txt lists and installs what is missing with apt, as root or through sudo. Where that
# cannot be done it prints the list of what is missing and exits 2. Silent when nothing is missing.
#   deploy/setup.sh           install what is missing
#   deploy/setup.sh --list    only print what is missing; exits 2 when something is
set -eu
list=$(dirname "$0")/packages.txt

present() { # cmd:NAME | pkg:NAME | header:PATH
    case $1 in
    root:*) [ "$(id -u)" -ne 0 ] || [ -x "/usr/sbin/${1#root:}" ] || command -v "${1#root:}" >/dev/null 2>&1 ;;
    cmd:*) command -v "${1#cmd:}" >/dev/null 2>&1 ;;
    pkg:*) pkg-config --exists "${1#pkg:}" 2>/dev/null ;;
    header:*) printf '#include <%s>\n' "${1#header:}" | "${CC:-gcc}" -E -x c - >/dev/null 2>&1 ;;
    *) echo "setup.sh: $list: unknown probe $1" >&2; exit 1 ;;
    esac
}

missing() { # prints the packages whose probe fails
    while read -r package probe; do
        case $package in '' | '#'*) continue ;; esac
        present "$probe" || printf '%s\n' "$package"
    done <"$list"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@" # nobody is there to type a password
    fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" </dev/null
}

give_up() {
    echo "setup.sh: $1. Missing (names of Debian packages):" >&2
    printf '%s\n' "$packages"
    exit 2
}

packages=$(missing)
[ -n "$packages" ] || exit 0
[ "${1:-}" != --list ] || give_up "not everything is here"
command -v apt-get >/dev/null 2>&1 || give_up "there is no apt-get here"
[ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null 2>&1 || give_up "this needs root or sudo"

echo "setup.sh: installing" $packages >&2
# The package lists of a fresh machine are empty or old: fetch them only when it does not work without.
# shellcheck disable=SC2086
apt install -y --no-install-recommends $packages >/dev/null 2>&1 || {
    apt update && apt install -y --no-install-recommends $packages
} >&2 || give_up "apt could not install everything"

packages=$(missing)
[ -z "$packages" ] || give_up "still not everything is here after installing"
