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

# file KIND SOURCE DESTINATION: program and data are copied; text has its paths rewritten; config is text that a second
# install leaves as it finds it.
file() {
    destination=$DESTDIR$3
    if [ "$action" = uninstall ]; then
        if [ "$1" = config ] && [ -e "$destination" ] && ! rewritten "$2" | cmp -s - "$destination"; then
            echo "  KEEP    $destination (changed since it was installed)"
            return
        fi
        rm -f "$destination"
        return
    fi
    mkdir -p "$(dirname "$destination")"
    case $1 in
    program) install -m 755 "$2" "$destination" ;;
    data) install -m 644 "$2" "$destination" ;;
    text) rewritten "$2" >"$destination" && chmod 644 "$destination" ;;
    config)
        if [ -e "$destination" ] && ! rewritten "$2" | cmp -s - "$destination"; then
            echo "  KEEP    $destination (the new one is $destination.new)"
            destination=$destination.new
        fi
        rewritten "$2" >"$destination" && chmod 644 "$destination"
        ;;
    esac
}

link() { # link TARGET DESTINATION
    if [ "$action" = uninstall ]; then
        rm -f "$DESTDIR$2"
    else
        ln -sf "$1" "$DESTDIR$2"
    fi
}

rewritten() {
    sed -e "s|/usr/bin/|$PREFIX/bin/|g" -e "s|/usr/share/tandem|$PREFIX/share/tandem|g" \
        -e "s|/etc/tandem|$SYSCONFDIR/tandem|g" "$1"
}

pkg_config_file() {
    sed -e "s|@PREFIX@|$PREFIX|g" -e "s|@LIBDIR@|$LIBDIR|g" -e "s|@VERSION@|$VERSION|g" \
        -e "s|@LIBS_PRIVATE@|${LIBS_PRIVATE:-}|g" deploy/tandem.pc.in
}

all_files() {
    for program in tandem-server tandem-client tandemctl tandem-model; do
        file program "$BUILD/bin/$program" "$PREFIX/bin/$program"
    done
    file program "$BUILD/lib/libtandem.so" "$LIBDIR/libtandem.so.$VERSION"
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
        [ ! -e "$config" ] || file config "$config" "$SYSCONFDIR/tandem/${config##*/}"
    done
    file config deploy/config/task.example "$SYSCONFDIR/tandem/task.example"
    for task in deploy/config/tasks.d/*.conf; do
        [ ! -e "$task" ] || file config "$task" "$SYSCONFDIR/tandem/tasks.d/${task##*/}"
    done
    for model in deploy/models/*.gguf deploy/models/*.md; do
        [ ! -e "$model" ] || file data "$model" "$PREFIX/share/tandem/models/${model##*/}"
    done
    for page in deploy/man/*.[1-8]; do
        [ ! -e "$page" ] || file data "$page" "$PREFIX/share/man/man${page##*.}/${page##*/}"
    done
    file data LICENSE "$PREFIX/share/doc/tandem/LICENSE"
    [ ! -e README.md ] || file data README.md "$PREFIX/share/doc/tandem/README.md"
}

case $action in
install)
    pkg_config_file >"$BUILD/tandem.pc"
    all_files
    ;;
uninstall)
    all_files
    for folder in "$SYSCONFDIR/tandem/tasks.d" "$SYSCONFDIR/tandem" "$PREFIX/share/tandem/models" \
        "$PREFIX/share/tandem" "$PREFIX/share/doc/tandem"; do
        rmdir "$DESTDIR$folder" 2>/dev/null || true # stays when it holds what is not ours
    done
    ;;
*)
    echo "install.sh: install or uninstall" >&2
    exit 2
    ;;
esac
