#!/bin/sh
# Builds everything for aarch64 with Debian's cross compiler and runs the unit tests of the rooms below and the golden tests under
# qemu's user emulation: correctness of the NEON kernels and of the code on that processor, never speed. Exits with 77 and says what
# is missing where the cross tools or the :arm64 libraries are not installed (tests/README.md names them).
set -u
cd "$(dirname "$0")/.."
: "${AARCH64_BUILD:=build-aarch64}" "${AARCH64_ROOMS:=base engine wire policy golden}" "${AARCH64_SECONDS:=120}"
target=aarch64-linux-gnu
libraries="libopenblas-dev libjpeg62-turbo-dev libspng-dev libinih-dev libxxhash-dev libcmocka-dev libprotobuf-c-dev libcjson-dev
    libuv1-dev libnng-dev libssl-dev"

qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || qemu=
for tool in $target-gcc $target-ar $target-objcopy; do
    command -v "$tool" >/dev/null 2>&1 || { echo "$tool is not installed"; exit 77; }
done
[ -n "$qemu" ] || { echo "neither qemu-aarch64-static nor qemu-aarch64 is installed"; exit 77; }
for library in $libraries; do
    dpkg-query -W -f '${Status}\n' "$library:arm64" 2>/dev/null | grep -q 'install ok installed' ||
        { echo "$library:arm64 is not installed"; exit 77; }
done

programs=
for room in $AARCH64_ROOMS; do
    for source in tests/unit/"$room"/test_*.c tests/"$room"/test_*.c; do
        [ ! -e "$source" ] || programs="$programs $AARCH64_BUILD/tests/$room/$(basename "$source" .c)"
    done
done

unset BUILD SANITIZE CC AR OBJCOPY MAKEFLAGS
PKG_CONFIG_LIBDIR=/usr/lib/$target/pkgconfig:/usr/share/pkgconfig
OPENBLAS_NUM_THREADS=1 # with more, emulated spinning takes minutes
export PKG_CONFIG_LIBDIR OPENBLAS_NUM_THREADS
unset OPENBLAS_CORETYPE # names another processor's kernels
started=$(date +%s)
# shellcheck disable=SC2086 # words
make --no-print-directory -k -j"$(nproc)" CC="${AARCH64_CC:-$target-gcc}" AR=$target-ar OBJCOPY=$target-objcopy PKG_CONFIG=pkg-config \
    BUILD="$AARCH64_BUILD" all $programs || { echo "the aarch64 build failed"; exit 1; }
echo "built in $(($(date +%s) - started)) s"

failed=0 passed=0
for test in $programs; do
    part=$(date +%s)
    if timeout --kill-after=10 "$AARCH64_SECONDS" "$qemu" -L / "$test" >"$test.log" 2>&1; then
        passed=$((passed + 1))
        echo "passed in $(($(date +%s) - part)) s: $test"
    else
        failed=$((failed + 1))
        echo "failed after $(($(date +%s) - part)) s: $test (under $qemu)"
        grep -E 'ERROR|FAILED|Error' "$test.log" | head -10
    fi
done
echo "aarch64: $passed test programs passed, $failed failed, in $(($(date +%s) - started)) s"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
