#!/bin/sh
# What `make check-long` runs: unit, golden and integration tests, and longer fuzz, under AddressSanitizer with UndefinedBehaviorSanitizer;
# unit, golden and integration tests under ThreadSanitizer (the fuzz targets have one thread); the units under a
# real systemd; the network tests in full. Any report ends its test with a failure. About an hour on two cores; the time of each part is printed.
#   SANITIZERS="address,undefined thread" FUZZ_SECONDS=30 tests/sanitize.sh      FUZZ_SECONDS: of each fuzz target
set -u
cd "$(dirname "$0")/.."
: "${SANITIZERS:=address,undefined thread}" "${FUZZ_SECONDS:=30}"
suppressions=$(pwd)/tests/tsan.supp
ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:exitcode=99
UBSAN_OPTIONS=print_stacktrace=1
TSAN_OPTIONS="suppressions=$suppressions:exitcode=99:second_deadlock_stack=1"
export ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS FUZZ_SECONDS
unset BUILD SANITIZE MAKEFLAGS
result=0
started=$(date +%s)

for sanitizer in $SANITIZERS; do
    folder=${SANITIZE_BUILD:-build}-$(echo "$sanitizer" | tr , -)
    case $sanitizer in
    *thread*) tests="unit golden integration" ;;
    *) tests="unit golden integration fuzz" ;;
    esac
    echo "== $sanitizer (in $folder)"
    part=$(date +%s)
    make --no-print-directory -k -j"$(nproc)" SANITIZE="$sanitizer" BUILD="$folder" all tests
    BUILD_STATUS=$?
    export BUILD_STATUS
    echo "built in $(($(date +%s) - part)) s"
    # Sanitizers are up to ten times slower, and a fuzz target runs for FUZZ_SECONDS: give each test the time.
    BUILD=$folder SANITIZE=$sanitizer TESTS=${SANITIZE_TESTS:-$tests} TEST_SECONDS=$((600 + FUZZ_SECONDS)) tests/run.sh || result=1
done
make --no-print-directory -j"$(nproc)" BUILD=build all tests || result=1
BUILD_STATUS=0 TESTS="boot aarch64 net_long" BUILD=build TEST_SECONDS=3600 tests/run.sh || result=1
echo "check-long took $(($(date +%s) - started)) s; $([ $result -eq 0 ] && echo nothing failed || echo something failed, see above)"
exit $result
