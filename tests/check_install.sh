#!/bin/sh
# Installs into an empty folder and does what a user does with it: builds a C and a C++ program by pkg-config, against the
# shared and the static library, and runs them; looks at symbols, rewritten paths, and that uninstall leaves nothing.
set -u
cd "$(dirname "$0")/.."
: "${BUILD:=build}" "${CC:=gcc}" "${CXX:=g++}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
root=$work/root
prefix=/opt/tandem
bad=0
unset MAKEFLAGS MFLAGS LIBDIR

complain() {
    echo "$1"
    bad=1
}

install_it() { # install_it TARGET
    make --no-print-directory BUILD="$BUILD" DESTDIR="$root" PREFIX=$prefix SYSCONFDIR=/etc LIBDIR=$prefix/lib "$1"
}

install_it install || { echo "make install failed"; exit 1; }

for file in bin/tandem-server bin/tandem-client bin/tandemctl bin/tandem-model lib/libtandem.a include/tandem.h \
    lib/pkgconfig/tandem.pc lib/systemd/system/tandem-server.service lib/systemd/system/tandem-client.service \
    lib/sysusers.d/tandem.conf lib/tmpfiles.d/tandem.conf; do
    [ -s "$root$prefix/$file" ] || complain "$prefix/$file is missing"
done
for file in server.conf client.conf tasks.d/objects.conf tasks.d/commands.conf; do
    [ -s "$root/etc/tandem/$file" ] || complain "/etc/tandem/$file is missing"
done

# ---- the shared library ----
library=$root$prefix/lib/libtandem.so
for link in libtandem.so libtandem.so.0; do
    [ -L "$root$prefix/lib/$link" ] || complain "$link is not a link"
done
case $(readelf -d "$library" | grep SONAME) in
*'[libtandem.so.0]') ;;
*) complain "the SONAME is not libtandem.so.0" ;;
esac
strangers=$(nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' | grep -v '^tandem_')
[ -z "$strangers" ] || complain "libtandem.so exports what is not tandem_*: $strangers"
strangers=$(nm -g --defined-only "$root$prefix/lib/libtandem.a" | awk 'NF == 3 {print $3}' | grep -v '^tandem_')
[ -z "$strangers" ] || complain "libtandem.a exports what is not tandem_*: $strangers"
# Every function that the header declares is there.
for function in $(grep -oE '\btandem_[a-z0-9_]+\(' client/include/tandem.h | tr -d '(' | sort -u); do
    grep -qE "^(static inline|#define) .*\b$function\(" client/include/tandem.h && continue
    grep -qE "^[a-z].*\b$function\(" client/include/tandem.h || continue # named in a comment only
    nm -D --defined-only "$library" | grep -q " $function\(@\|\$\)" || complain "$function is declared, but not in libtandem.so"
done
heavy=$(readelf -d "$library" | grep NEEDED | grep -E 'blas|nng|ssl|uv|pthread')
[ -z "$heavy" ] || complain "libtandem.so needs what a small library must not: $heavy"

# ---- programs ----
cat >"$work/program.c" <<'PROGRAM'
#include <tandem.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct tandem *tandem = NULL;
    struct tandem_answer *answer = NULL;
    int result = tandem_open("/nonexistent/app.sock", &tandem);

    printf("libtandem %s: %s\n", tandem_version(), tandem_strerror(result));
    if (result == 0) {
        /* The daemon may be started later: then it is the call that fails. */
        result = tandem_generate(tandem, "commands", "walk", 100, &answer);
        printf("%s (%s)\n", tandem_strerror(result), tandem_last_error(tandem));
        tandem_answer_free(answer);
        tandem_close(tandem);
    }
    return result < 0 && strlen(tandem_version()) > 0 ? 0 : 1;
}
PROGRAM
cp "$work/program.c" "$work/program.cpp"
PKG_CONFIG_PATH=$root$prefix/lib/pkgconfig
PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
[ "$(pkg-config --modversion tandem)" = 0.1.0 ] || complain "pkg-config does not know the version"

try() { # try NAME COMPILER... : builds and runs
    name=$1
    shift
    if ! "$@" -o "$work/$name" 2>"$work/$name.log"; then
        complain "$name does not build: $(cat "$work/$name.log")"
    elif [ -s "$work/$name.log" ]; then
        complain "$name builds with warnings: $(cat "$work/$name.log")"
    elif ! LD_LIBRARY_PATH=$root$prefix/lib "$work/$name" >"$work/$name.log" 2>&1; then
        complain "$name does not run: $(cat "$work/$name.log")"
    else
        echo "$name: $(head -n 1 "$work/$name.log")"
    fi
}
cflags=$(pkg-config --cflags tandem)
shared=$(pkg-config --libs tandem)
static="$root$prefix/lib/libtandem.a $(sed -n 's/^Libs.private: //p' "$PKG_CONFIG_PATH/tandem.pc")"
# shellcheck disable=SC2086
{
    try c_shared "$CC" -std=c11 -Wall -Wextra -Wpedantic -Werror $cflags "$work/program.c" $shared
    try c_static "$CC" -std=c11 -Wall -Wextra -Wpedantic -Werror $cflags "$work/program.c" $static
    try c99_shared "$CC" -std=c99 -Wall -Wextra -Wpedantic -Werror $cflags "$work/program.c" $shared
    try cxx_shared "$CXX" -std=c++11 -Wall -Wextra -Wpedantic -Werror $cflags "$work/program.cpp" $shared
    try cxx_static "$CXX" -std=c++17 -Wall -Wextra -Wpedantic -Werror $cflags "$work/program.cpp" $static
}

# ---- rewritten paths ----
for unit in tandem-server tandem-client; do
    grep -q "^ExecStart=$prefix/bin/$unit --config /etc/tandem/" "$root$prefix/lib/systemd/system/$unit.service" ||
        complain "$unit.service does not start $prefix/bin/$unit"
done
stale=$(grep -rlE '(^|[^a-z])/usr/(bin/tandem|share/tandem)' "$root" --include='*.conf' --include='*.service' --include='*.pc')
[ -z "$stale" ] || complain "still /usr in: $stale"
for model in $(sed -n 's/^model *= *//p' "$root"/etc/tandem/tasks.d/*.conf); do
    [ -s "$root$model" ] || complain "a task file names $model, which is not installed"
done

# ---- a second install keeps what root has changed; uninstall leaves only that ----
echo '# changed here' >>"$root/etc/tandem/client.conf"
install_it install >/dev/null || complain "the second install failed"
tail -n 1 "$root/etc/tandem/client.conf" | grep -q 'changed here' || complain "install wrote over a changed client.conf"
[ -s "$root/etc/tandem/client.conf.new" ] || complain "install left no client.conf.new"
rm -f "$root/etc/tandem/client.conf.new"
install_it uninstall >/dev/null || complain "uninstall failed"
left=$(find "$root" ! -type d)
[ "$left" = "$root/etc/tandem/client.conf" ] || complain "uninstall left: $left"
exit $bad
