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

# sign NAME EXTENSIONS: a P-256 key and a certificate signed by the authority.
sign() {
    [ ! -e "$dir/$1.key" ] && [ ! -e "$dir/$1.pem" ] || fail "$dir/$1.key or .pem is already there"
    [ -e "$dir/ca.key" ] || fail "no authority in $dir: run '$0 $dir ca' first"
    extensions=$(mktemp)
    trap 'rm -f "$extensions" "$dir/$name.csr"' EXIT
    printf '%s\n' "$2" "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" >"$extensions"
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$dir/$1.key" -out "$dir/$1.csr" 2>/dev/null
    openssl x509 -req -in "$dir/$1.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days "$days" -extfile "$extensions" \
        -set_serial "0x$(openssl rand -hex 16)" -out "$dir/$1.pem" 2>/dev/null
    chmod 644 "$dir/$1.pem"
    echo "$dir/$1.pem $dir/$1.key"
}

name=${3:-}
case $kind in
ca)
    [ ! -e "$dir/ca.key" ] && [ ! -e "$dir/ca.pem" ] || fail "$dir already has an authority"
    openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" -subj "/CN=Tandem authority" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
    chmod 644 "$dir/ca.pem"
    echo "$dir/ca.pem $dir/ca.key"
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
