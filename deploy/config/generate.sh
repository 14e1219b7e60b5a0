#!/bin/sh
# `make configs`: writes what the tables in the code say about configuration files, the same tables that parse them: the
# annotated examples, and in tandem.conf(5) what stands between the lines `.\" keys: NAME` and `.\" end`.
#   BUILD=build deploy/config/generate.sh [FOLDER]     with FOLDER: writes there instead, as check_configs.sh does
set -eu
cd "$(dirname "$0")/../.."
: "${BUILD:=build}"
configs=${1:-deploy/config}
manual=${1:-deploy/man}

annotate() { # annotate TABLE FILE: never a half-written file
    "$BUILD/tools/annotate-$1" >"$2.tmp"
    mv "$2.tmp" "$2"
}

page() { # the page, with its key tables made anew
    while IFS= read -r line; do
        case $line in
        '.\" keys: '*)
            printf '%s\n' "$line"
            "$BUILD/tools/annotate-${line#*: }" --man
            ;;
        '.\" end') keys=past ;;
        esac
        case $line in '.\" keys: '*) keys=in ;; esac
        [ "${keys:-past}" = in ] || printf '%s\n' "$line"
    done <deploy/man/tandem.conf.5
}

annotate server "$configs/server.conf"
annotate client "$configs/client.conf"
annotate task "$configs/task.example"
page >"$manual/tandem.conf.5.tmp"
mv "$manual/tandem.conf.5.tmp" "$manual/tandem.conf.5"
