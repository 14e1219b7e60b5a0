#!/bin/sh
# Says in words where a room includes what it must not. A room includes only what stands to its left in the design, and foreign
# libraries come in through their doors only. (A back edge does not link in the unit tests either; this names the line.)
set -u
cd "$(dirname "$0")/.."
bad=0

complain() { # complain FILE:LINE TEXT
    echo "$1: $2"
    bad=$((bad + 1))
}

# Every `#include` of the files given on standard input, as FILE:LINE:<header> or FILE:LINE:"header".
includes() {
    xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*include' |
        sed -E 's/^([^:]*:[0-9]*):[[:space:]]*#[[:space:]]*include[[:space:]]*/\1:/'
}

sources() { # sources FOLDER: the C files of a room, without the rooms below it
    find "$1" -maxdepth 1 -name '*.[ch]' 2>/dev/null | sort
}

# room FOLDER ALLOWED...: quoted headers come from ALLOWED folders (the room's own included).
room() {
    folder=$1
    shift
    found=$(sources "$folder" | includes)
    [ -n "$found" ] || return 0
    while IFS=: read -r file line header; do
        case $header in
        '<tandem.h>' | '"tandem.h"')
            case " $* " in
            *" tandem.h "*) ;;
            *) complain "$file:$line" "$folder includes tandem.h, which is for client/lib, client/ctl and applications" ;;
            esac
            continue
            ;;
        '"'*'.pb-c.h"')
            case $file in
            common/wire/*) ;;
            *) complain "$file:$line" "generated protobuf code is used only inside common/wire" ;;
            esac
            continue
            ;;
        '"'*) ;;
        *) continue ;;
        esac
        path=${header#\"}
        from=$(dirname "${path%%\"*}")
        case $from in
        .) complain "$file:$line" "write the whole path of $header, from the top of the tree" ;;
        tests | tests/*) complain "$file:$line" "nothing includes tests/" ;;
        *)
            case " $folder $* " in
            *" $from "*) ;;
            *) complain "$file:$line" "$folder must not include $from (it may: $*)" ;;
            esac
            ;;
        esac
    done <<FOUND
$found
FOUND
}

# door PATTERN WHERE WORDS: headers that match PATTERN (of `<...>`) appear only in files that match WHERE.
door() {
    find common client server deploy -name '*.[ch]' | sort | includes | grep -E "^[^:]*:[0-9]*:[<\"]($1)" |
        grep -vE "^($2):" | while IFS=: read -r file line header; do
        echo "$file:$line: $header belongs only in $3"
    done
}

room common/base
room common/engine common/base
room common/model common/engine common/base
room common/wire common/base
room common/stream common/wire common/base
room client/include
room client/policy common/base
room client/lib common/wire common/base tandem.h
room client/ctl client/policy client/lib common/wire common/base tandem.h
room server common/stream common/wire common/engine common/base
room client/daemon client/policy common/stream common/wire common/engine common/base

doors=$(
    door 'nng/|openssl/' 'common/stream/[^:]*' 'common/stream, the one place that knows NNG and OpenSSL'
    door 'cblas' 'common/engine/kernels_blas\.c' 'common/engine/kernels_blas.c'
    door 'protobuf-c/|.*\.pb-c\.h' 'common/wire/[^:]*' 'common/wire, the one place that knows protobuf'
    door 'uv\.h' '(common/stream|server|client/daemon)/[^:]*' 'common/stream, server and client/daemon'
    door 'cjson/|cJSON' '(client/ctl|common/model)/[^:]*' 'client/ctl and common/model (and tests): the daemons only write JSON'
    door 'ini\.h' 'common/base/config\.c' 'common/base/config.c'
    door 'jpeglib|spng' 'common/engine/picture[^:]*' 'common/engine/picture*.c'
    find server -name 'batcher*.[ch]' -o -name 'prefix_cache*.[ch]' -o -name 'session*.[ch]' | includes | grep '<uv\.h>' |
        sed 's/:[^:]*$/: batcher, prefix_cache and session are pure: uv.h stays out/'
)
if [ -n "$doors" ]; then
    echo "$doors"
    bad=$((bad + $(echo "$doors" | wc -l)))
fi

# Only main may end the process.
exits=$(grep -rnE '(^|[^a-z_])_?exit\(' --include='*.c' common client server | grep -vE '/main\.c:|^[^:]*:[0-9]*:[[:space:]]*(/?\*|//)')
if [ -n "$exits" ]; then
    echo "$exits" | sed -E 's/^([^:]*:[0-9]*):.*/\1: exit() below main: return an error code instead/'
    bad=$((bad + $(echo "$exits" | wc -l)))
fi

[ "$bad" -eq 0 ] || echo "$bad lines break the rules of the rooms"
[ "$bad" -eq 0 ]
