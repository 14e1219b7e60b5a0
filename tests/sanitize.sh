#!/bin/sh
# Builds and runs the unit, golden, integration and short fuzz tests under AddressSanitizer with UndefinedBehaviorSanitizer, then under
# ThreadSanitizer. Any report ends its test with a failure.   SANITIZERS="address,undefined thread" tests/sanitize.sh
set -u
cd "$(dirname "$0")/.."
: "${SANITIZERS:=address,undefined thread}" "${SANITIZE_TESTS:=unit golden integration fuzz}"
suppressions=$(pwd)/tests/tsan.supp
ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:exitcode=99
UBSAN_OPTIONS=print_stacktrace=1
TSAN_OPTIONS="suppressions=$suppressions:exitcode=99:second_deadlock_stack=1"
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
unset BUILD SANITIZE MAKEFLAGS
result=0

for sanitizer in $SANITIZERS; do
    folder=${SANITIZE_BUILD:-build}-$(echo "$sanitizer" | tr , -)
    echo "== $sanitizer (in $folder)"
    make --no-print-directory -k -j"$(nproc)" SANITIZE="$sanitizer" BUILD="$folder" all tests
    BUILD_STATUS=$?
    export BUILD_STATUS
    # ThreadSanitizer is ten times slower: give each test the time.
    BUILD=$folder SANITIZE=$sanitizer TESTS=$SANITIZE_TESTS TEST_SECONDS=600 tests/run.sh || result=1
done
make --no-print-directory -j"$(nproc)" BUILD=build all || result=1
BUILD_STATUS=0 TESTS="limits boot" BUILD=build tests/run.sh || result=1
exit $result
