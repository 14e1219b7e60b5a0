#!/bin/sh
# `make install` and `make uninstall`. One list of files serves both; nothing else is touched.
#   BUILD=build VERSION=X DESTDIR= PREFIX=/usr/local SYSCONFDIR=/etc LIBDIR= deploy/install.sh install|uninstall
# Paths in units, configuration and task files are written with /usr in the repository and rewritten here.
set -eu
cd "$(dirname "$0")/.."
: "${BUILD:=build}" "${DESTDIR:=}" "${PREFIX:=/usr/local}" "${SYSCONFDIR:=/etc}" "${VERSION:?}"
: "${LIBDIR:=$PREFIX/lib}"
major=${VERSION%%.*}
action=${1:?install or uninstall}
for path in "PREFIX=$PREFIX" "SYSCONFDIR=$SYSCONFDIR" "LIBDIR=$LIBDIR" "DESTDIR=$DESTDIR"; do
    case $path in
    *=/* | DESTDIR=) ;;
    *)
        echo "install: $path: an absolute path is needed, as $(pwd)/${path#*=}" >&2
        exit 2
        ;;
    esac
done
umask 022 # what is installed is for every user, whatever root's own umask says

# file KIND SOURCE DESTINATION: program and data are copied; text has its paths rewritten; config is text that a second
# install leaves as it finds it, beside the new one as FILE.new.
file() {
    destination=$DESTDIR$3
    case $action:$1 in
    uninstall:config)
        rm -f "$destination.new"
        [ ! -e "$destination" ] || if rewritten "$2" | cmp -s - "$destination"; then
            rm -f "$destination"
        else
            echo "  KEEP    $destination (changed since it was installed)"
        fi
        ;;
    uninstall:*) rm -f "$destination" ;;
    *)
        mkdir -p "$(dirname "$destination")"
        put_"$1" "$2" "$destination"
        ;;
    esac
}

put_program() { install -m 755 "$1" "$2"; }
put_data() { install -m 644 "$1" "$2"; }

put_text() { # a daemon that reads meanwhile sees the old file or the new one
    rewritten "$1" >"$2.tmp"
    mv -f "$2.tmp" "$2"
}

put_config() {
    if [ ! -e "$2" ]; then
        put_text "$1" "$2"
    elif rewritten "$1" | cmp -s - "$2"; then
        rm -f "$2.new"
    else
        echo "  KEEP    $2 (the new one is $2.new)"
        put_text "$1" "$2.new"
    fi
}

link() { # link TARGET DESTINATION
    if [ "$action" = uninstall ]; then
        rm -f "$DESTDIR$2"
    else
        ln -sf "$1" "$DESTDIR$2"
    fi
}

# The programs look for task files below /etc; where they lie elsewhere, the configuration has to say so.
rewritten() {
    sed -e "s|/usr/bin/|$PREFIX/bin/|g" -e "s|/usr/share/tandem|$PREFIX/share/tandem|g" \
        -e "$([ "$SYSCONFDIR" = /etc ] || echo 's|^#tasks_dir = |tasks_dir = |')" \
        -e "/^#* *[Dd]efault:/!s|/etc/tandem|$SYSCONFDIR/tandem|g" "$1"
}

pkg_config_file() {
    sed -e "s|@PREFIX@|$PREFIX|g" -e "s|@LIBDIR@|$LIBDIR|g" -e "s|@VERSION@|$VERSION|g" \
        -e "s|@LIBS_PRIVATE@|${LIBS_PRIVATE:-}|g" deploy/tandem.pc.in
}

all_files() {
    for program in tandem-server tandem-client tandemctl tandem-model; do
        file program "$BUILD/bin/$program" "$PREFIX/bin/$program"
    done
    file data "$BUILD/lib/libtandem.so" "$LIBDIR/libtandem.so.$VERSION"
    link "libtandem.so.$VERSION" "$LIBDIR/libtandem.so.$major"
    link "libtandem.so.$major" "$LIBDIR/libtandem.so"
    file data "$BUILD/lib/libtandem.a" "$LIBDIR/libtandem.a"
    file data client/include/tandem.h "$PREFIX/include/tandem.h"
    file data "$BUILD/tandem.pc" "$LIBDIR/pkgconfig/tandem.pc"
    for unit in systemd/*.service; do
        file text "$unit" "$PREFIX/lib/systemd/system/${unit##*/}"
    done
    file text systemd/sysusers.d/tandem.conf "$PREFIX/lib/sysusers.d/tandem.conf"
    file text systemd/tmpfiles.d/tandem.conf "$PREFIX/lib/tmpfiles.d/tandem.conf"
    for config in deploy/config/*.conf; do
        file config "$config" "$SYSCONFDIR/tandem/${config##*/}"
    done
    file config deploy/config/task.example "$SYSCONFDIR/tandem/task.example"
    for task in deploy/config/tasks.d/*.conf; do
        file config "$task" "$SYSCONFDIR/tandem/tasks.d/${task##*/}"
    done
    for model in deploy/models/*.gguf deploy/models/*.md deploy/models/*.forms.csv; do
        file data "$model" "$PREFIX/share/tandem/models/${model##*/}"
    done
    for page in deploy/man/*.[1-8]; do
        file text "$page" "$PREFIX/share/man/man${page##*.}/${page##*/}"
    done
    file program deploy/certs.sh "$PREFIX/share/tandem/certs.sh"
    for example in deploy/examples/*.c; do
        file data "$example" "$PREFIX/share/doc/tandem/examples/${example##*/}"
    done
    file data LICENSE "$PREFIX/share/doc/tandem/LICENSE"
    file data README.md "$PREFIX/share/doc/tandem/README.md"
}

case $action in
install)
    pkg_config_file >"$BUILD/tandem.pc"
    all_files
    # Programs find the library at once. A staged tree is the packager's, and PREFIX may be a user's own.
    [ -n "$DESTDIR" ] || [ "$(id -u)" -ne 0 ] || ldconfig
    echo "  CONFIG  $DESTDIR$SYSCONFDIR/tandem (programs in $DESTDIR$PREFIX/bin)"
    ;;
uninstall)
    all_files
    for folder in "$SYSCONFDIR/tandem/tasks.d" "$SYSCONFDIR/tandem" "$PREFIX/share/tandem/models" \
        "$PREFIX/share/tandem" "$PREFIX/share/doc/tandem/examples" "$PREFIX/share/doc/tandem"; do
        rmdir "$DESTDIR$folder" 2>/dev/null || true # stays when it holds what is not ours
    done
    [ -n "$DESTDIR" ] || [ "$(id -u)" -ne 0 ] || ldconfig
    ;;
*)
    echo "install.sh: install or uninstall" >&2
    exit 2
    ;;
esac
