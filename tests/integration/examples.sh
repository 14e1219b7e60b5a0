#!/bin/sh
# The example programs compile without a word as C and as C++, against the shared and the static library, and say clearly that
# no daemon is there.
set -u
cd "$(dirname "$0")/../.."
: "${BUILD:=build}" "${CC:=cc}" "${CXX:=g++}" "${SANITIZE:=}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
strict="-Wall -Wextra -Wpedantic -Werror -Iclient/include ${SANITIZE:+-fsanitize=$SANITIZE}"
static_libs=$(pkg-config --libs libprotobuf-c)
bad=0

complain() {
    echo "$1"
    bad=1
}

for source in deploy/examples/*.c; do
    name=$(basename "$source" .c)
    # shellcheck disable=SC2086
    $CC -std=gnu11 $strict "$source" -L"$BUILD/lib" -ltandem -o "$work/$name" || complain "$name: not with the shared library"
    $CC -std=gnu11 $strict "$source" "$BUILD/lib/libtandem.a" $static_libs -lm -o "$work/$name-static" ||
        complain "$name: not with the static library"
    $CXX -std=gnu++20 $strict -x c++ "$source" -x none -L"$BUILD/lib" -ltandem -o "$work/$name-cxx" || complain "$name: not as C++"
done
echo '#include <tandem.h>' >"$work/header.cc"
# shellcheck disable=SC2086
$CXX -std=c++11 $strict -c "$work/header.cc" -o "$work/header.o" || complain "tandem.h: not as C++11"

export LD_LIBRARY_PATH="$BUILD/lib" TANDEM_SOCKET="$work/nobody.sock"
for program in "classify x.jpg" "classify-static x.jpg" "classify-cxx x.jpg" "poll_loop commands" "feedback x.jpg cat"; do
    # shellcheck disable=SC2086
    "$work"/$program </dev/null >"$work/out" 2>&1
    status=$?
    [ $status -eq 1 ] || complain "$program: exit status $status, not 1"
    grep -q 'not running' "$work/out" || complain "$program: does not say that the daemon is not running: $(cat "$work/out")"
done
exit $bad
