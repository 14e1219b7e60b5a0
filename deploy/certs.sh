#!/bin/sh
# certs.sh: makes the certificates with which client daemons and servers know each other, with the openssl command.
#
#   certs.sh DIR ca                     a certificate authority: DIR/ca.pem, DIR/ca.key (keep the key off the robots)
#   certs.sh DIR server NAME [ADDR...]  DIR/NAME.pem, DIR/NAME.key for a server reached as NAME and by the addresses ADDR
#   certs.sh DIR client TENANT          DIR/TENANT.pem, DIR/TENANT.key; the name in it is the tenant that the server sees
#
# The private keys are readable by whoever ran this. On its machine a key belongs to the user of its daemon alone:
#   install -m 400 -o tandem-server DIR/NAME.key /etc/tandem/keys      (tandem-client for TENANT.key)
# DAYS=825 sets how long they are valid. Nothing that exists is overwritten.
set -eu

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -ge 2 ] || usage
dir=$1
kind=$2
days=${DAYS:-825}
umask 077
mkdir -p "$dir"

fail() {
    echo "certs.sh: $*" >&2
    exit 1
}

case ${3:-} in
*[!A-Za-z0-9._-]*) fail "names are of letters, digits, '.', '_' and '-': $3" ;;
esac

case $days in
'' | - | *[!0-9-]* | ?*-*) fail "DAYS is a number of days: $days" ;;
esac
command -v openssl >/dev/null || fail "there is no openssl command"

# What is made lies in a folder of its own until all of it is there.
half=$(mktemp -d "$dir/.half-made.XXXXXX")
trap 'rm -rf "$half"' EXIT
trap 'exit 1' HUP INT TERM

# ssl WORDS: openssl, silent, or one line with its reason.
ssl() {
    openssl "$@" 2>"$half/said" || fail "openssl: $(reason)"
}

# Of what openssl says, the line with the value that is wrong, or its first that is a complaint.
reason() {
    sed -n 's/^[^:]*:error:[^:]*:[^:]*:[^:]*:\([^:]*\):[^:]*:[0-9]*:/\1: /p' "$half/said" | sed 's/: *$//; 1q' >"$half/reason"
    [ -s "$half/reason" ] || grep -vE '^([-.+*]*$|subject=|Certificate request self-signature ok)' "$half/said" | sed 1q >"$half/reason"
    cat "$half/reason"
}

# keep NAME: both files get their names; the key first, so that a certificate never lacks it.
keep() {
    chmod 644 "$half/new.pem"
    mv "$half/new.key" "$dir/$1.key"
    mv "$half/new.pem" "$dir/$1.pem"
    echo "$dir/$1.pem $dir/$1.key"
}

# sign NAME EXTENSIONS: a P-256 key and a certificate signed by the authority.
sign() {
    [ ! -e "$dir/$1.key" ] && [ ! -e "$dir/$1.pem" ] || fail "$dir/$1.key or .pem is already there"
    [ -e "$dir/ca.key" ] || fail "no authority in $dir: run '$0 $dir ca' first"
    printf '%s\n' "$2" "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" >"$half/extensions"
    ssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$half/new.key" -out "$half/csr"
    ssl x509 -req -in "$half/csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days "$days" -extfile "$half/extensions" \
        -set_serial "0x$(openssl rand -hex 16)" -out "$half/new.pem"
    keep "$1"
}

name=${3:-}
case $kind in
ca)
    [ ! -e "$dir/ca.key" ] && [ ! -e "$dir/ca.pem" ] || fail "$dir already has an authority"
    ssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" -subj "/CN=Tandem authority" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$half/new.key" -out "$half/new.pem"
    keep ca
    ;;
server)
    [ -n "$name" ] || usage
    shift 3
    names="DNS:$name"
    for address in "$@"; do
        case $address in
        *:* | *[0-9].*[0-9].*[0-9].*[0-9]) names="$names,IP:$address" ;;
        *) names="$names,DNS:$address" ;;
        esac
    done
    sign "$name" "subjectAltName=$names
extendedKeyUsage=serverAuth"
    ;;
client)
    [ $# -eq 3 ] || usage
    sign "$name" "extendedKeyUsage=clientAuth"
    ;;
*) usage ;;
esac
