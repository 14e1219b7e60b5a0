#!/bin/sh
# Installs into an empty folder and does what a user does with it: builds a C and a C++ program by pkg-config, against the
# shared and the static library, and runs them, README's program exactly as it is printed; looks at modes, symbols, rewritten
# paths and manual pages, and that uninstall leaves nothing.
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

said=$(umask 077 && install_it install) || { echo "make install failed"; exit 1; }
case $said in *"$root/etc/tandem"*) ;; *) complain "install does not say where the configuration is: $said" ;; esac
for wrong in PREFIX=opt/tandem SYSCONFDIR=etc DESTDIR=stage; do
    said=$(make --no-print-directory BUILD="$BUILD" DESTDIR="$work/none" PREFIX=$prefix SYSCONFDIR=/etc "$wrong" install 2>&1) &&
        complain "install with $wrong is not refused"
    case $said in *"$wrong: an absolute path"*) ;; *) complain "install with $wrong says: $said" ;; esac
done
[ ! -e "$work/none" ] && [ ! -e opt ] && [ ! -e etc ] && [ ! -e stage ] || complain "a refused install left files"

# Every file with its mode: what is missing and what is too much both show.
expected() {
    for program in tandem-server tandem-client tandemctl tandem-model; do echo "755 $prefix/bin/$program"; done
    echo "644 $prefix/include/tandem.h"
    for file in libtandem.a libtandem.so.0.1.0 pkgconfig/tandem.pc systemd/system/tandem-client.service \
        systemd/system/tandem-server.service sysusers.d/tandem.conf tmpfiles.d/tandem.conf; do
        echo "644 $prefix/lib/$file"
    done
    for page in man1/tandemctl.1 man1/tandem-model.1 man5/tandem.conf.5 man5/tandem-status.5 man8/tandem-client.8 man8/tandem-server.8; do
        echo "644 $prefix/share/man/$page"
    done
    for file in LICENSE README.md examples/classify.c examples/poll_loop.c examples/feedback.c; do echo "644 $prefix/share/doc/tandem/$file"; done
    echo "755 $prefix/share/tandem/certs.sh"
    for model in objects-local objects-edge commands-local commands-edge; do
        echo "644 $prefix/share/tandem/models/$model.gguf"
        echo "644 $prefix/share/tandem/models/$model.md"
    done
    echo "644 $prefix/share/tandem/models/objects-edge.forms.csv"
    for config in server.conf client.conf task.example tasks.d/objects.conf tasks.d/commands.conf; do
        echo "644 /etc/tandem/$config"
    done
}
expected | sort >"$work/expected"
(cd "$root" && find . -type f -printf '%m /%P\n') | sort >"$work/installed"
diff -u "$work/expected" "$work/installed" || complain "what is installed is not what should be (above)"
closed=$(find "$root"/* -type d ! -perm 755)
[ -z "$closed" ] || complain "installed under umask 077, these folders are closed: $closed"

# ---- manual pages ----
for page in "$root$prefix"/share/man/man*/*; do
    if command -v mandoc >/dev/null 2>&1; then
        said=$(mandoc -Tlint -Wwarning "$page" 2>&1) || complain "$said"
    fi
    if command -v groff >/dev/null 2>&1; then
        said=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
        [ -z "$said" ] || complain "${page##*/}: $said"
    fi
    grep -q '^\.SH NAME' "$page" || complain "${page##*/} has no NAME"
done
for program in tandem-server tandem-client tandemctl tandem-model; do
    # Every option that the help names is in the manual page.
    for option in $("$root$prefix/bin/$program" --help | grep -oE -e '(^|[ [])--?[a-z][a-z-]*' | tr -d ' [' | sort -u); do
        sed 's/\\-/-/g' "$root$prefix"/share/man/man[18]/$program.? | grep -q -e "$option" ||
            complain "the manual page of $program lacks $option"
    done
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

# ---- README's program: at most 25 lines, the same as the example, built as printed ----
awk '/^```c$/ {on = 1; next} /^```/ {if (on) exit} on' README.md >"$work/classify.c"
cmp deploy/examples/classify.c "$work/classify.c" || complain "the program in README.md is not deploy/examples/classify.c"
[ "$(wc -l <"$work/classify.c")" -le 25 ] || complain "the program in README.md has more than 25 lines"
cp "$work/classify.c" "$work/classify.cpp"
# shellcheck disable=SC2016
build=$(grep -oE '^cc classify\.c \$\(pkg-config [^)]*\) -o classify' README.md)
[ -n "$build" ] || complain "README.md does not say how to build classify.c"
if said=$(cd "$work" && cc() { command "$CC" -Wall -Wextra -Werror "$@"; } && eval "$build" 2>&1); then
    said=$(cd "$work" && LD_LIBRARY_PATH=$root$prefix/lib TANDEM_SOCKET=$work/nobody.sock ./classify cup.jpg 2>&1)
    [ $? -eq 1 ] || complain "README's program without a daemon: exit status is not 1"
    echo "classify: $said"
    case $said in "classify: "*"not running"*) ;; *) complain "README's program does not say that the daemon is not running" ;; esac
else
    complain "README's program does not build as printed: $said"
fi
# shellcheck disable=SC2086
"$CXX" -Wall -Wextra -Werror -c $cflags "$work/classify.cpp" -o "$work/classify.o" || complain "README's program is not C++"
# A program without any shared library, by what pkg-config says.
# shellcheck disable=SC2046,SC2086
if ! "$CC" -static $cflags "$work/program.c" $(pkg-config --static --libs tandem) -o "$work/all_static" 2>"$work/static.log"; then
    complain "pkg-config --static does not link: $(cat "$work/static.log")"
elif ! "$work/all_static" >/dev/null; then
    complain "the static program does not run"
fi

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
install_it uninstall >/dev/null || complain "uninstall failed"
left=$(find "$root" ! -type d)
[ "$left" = "$root/etc/tandem/client.conf" ] || complain "uninstall left: $left"
for folder in "$root$prefix/share/tandem" "$root$prefix/share/doc/tandem" "$root/etc/tandem/tasks.d"; do
    [ ! -e "$folder" ] || complain "uninstall left the folder $folder"
done

# ---- configuration elsewhere: the daemons find their task files there ----
rm -rf "$root"
make --no-print-directory BUILD="$BUILD" DESTDIR="$root" PREFIX=$prefix SYSCONFDIR=$prefix/etc install >/dev/null ||
    complain "make install SYSCONFDIR= failed"
for daemon in server client; do
    grep -qx "tasks_dir = $prefix/etc/tandem/tasks.d" "$root$prefix/etc/tandem/$daemon.conf" ||
        complain "$daemon.conf under another SYSCONFDIR does not name its task files"
    grep -q -e "--config $prefix/etc/tandem/$daemon.conf" "$root$prefix/lib/systemd/system/tandem-$daemon.service" ||
        complain "tandem-$daemon.service does not name its configuration"
done
exit $bad
