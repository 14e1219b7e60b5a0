#!/bin/sh
# What every program says to a wrong or an empty command line, and how it ends: 0 done, 1 failed, 2 wrong use, 3 the daemon is not
# running. Help and version go to standard output, complaints to standard error, and there is always a word.
set -u
: "${BUILD:=build}"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad=0

# expect STATUS out|err PROGRAM WORDS...: its exit status, and where it speaks; `err` also means that standard output stays empty.
expect() {
    status=$1
    where=$2
    shift 2
    "$BUILD/bin/$@" </dev/null >"$dir/out" 2>"$dir/err"
    got=$?
    if [ "$got" -ne "$status" ]; then
        echo "$*: exit status $got instead of $status"
        bad=$((bad + 1))
    elif [ ! -s "$dir/$where" ] || { [ "$where" = err ] && [ -s "$dir/out" ]; }; then
        echo "$*: nothing on standard $where, or something on the other one"
        bad=$((bad + 1))
    fi
}

# said WORD: the last program's standard error has it
said() {
    grep -qF -- "$1" "$dir/err" || { echo "not said: $1 (but: $(head -n 1 "$dir/err"))"; bad=$((bad + 1)); }
}

for program in tandem-server tandem-client tandemctl tandem-model; do
    expect 0 out "$program" --help
    expect 0 out "$program" --version
    grep -q "^$program [0-9]" "$dir/out" || { echo "$program --version: $(cat "$dir/out")"; bad=$((bad + 1)); }
    expect 2 err "$program"
    expect 2 err "$program" --no-such-option
    expect 2 err "$program" no-such-command
done

for program in tandem-server tandem-client; do
    expect 2 err "$program" --config
    expect 2 err "$program" --config "$dir/one.conf" more
    expect 1 err "$program" --config "$dir/missing.conf"
    said "$dir/missing.conf"
    expect 1 err "$program" --check-config --config "$dir/missing.conf"
    section=${program#tandem-}
    printf '[%s]\nthreads = 0\ncolour = red\n' "$section" >"$dir/wrong.conf"
    expect 1 err "$program" --config "$dir/wrong.conf"
    said "$dir/wrong.conf:"
    said "[$section]"
done

expect 3 err tandemctl status --socket "$dir/none.sock"
expect 3 err tandemctl run objects deploy/models/samples/cat-0153.jpg --socket "$dir/none.sock"
expect 2 err tandemctl explain
expect 2 err tandemctl decisions -n many
expect 2 err tandem-model info
expect 1 err tandem-model info "$dir/missing.gguf"
said "$dir/missing.gguf"
expect 0 out tandem-model info deploy/models/objects-local.gguf


# once COMMAND...: fails with one line that names the file `wrong` once, behind the program's name
once() {
    expect 1 err "$@"
    [ "$(wc -l <"$dir/err")" -eq 1 ] && [ "$(grep -oF "$dir/wrong" "$dir/err" | wc -l)" -eq 1 ] &&
        grep -qF "tandem-model: $dir/wrong" "$dir/err" || { echo "$*: $(cat "$dir/err")"; bad=$((bad + 1)); }
}
mkdir "$dir/wrong-folder"
printf 'no such thing' >"$dir/wrong"
once tandem-model convert "$dir/wrong" "$dir/out.gguf"
once tandem-model convert "$dir/wrong-not-there" "$dir/out.gguf"
once tandem-model convert "$dir/wrong-folder" "$dir/out.gguf"
once tandem-model quantize "$dir/wrong" "$dir/out.gguf" Q8_0
once tandem-model info "$dir/wrong"
once tandem-model run deploy/models/objects-local.gguf --image "$dir/wrong"
once tandem-model run deploy/models/objects-local.gguf --image "$dir/wrong-folder"

[ "$bad" -eq 0 ] || echo "$bad command lines end in another way than they should"
[ "$bad" -eq 0 ]
