#!/bin/sh
# Runs the tests that `make check` has built, group by group, and counts. A cmocka program counts once per test function, a
# script or a fuzz target counts once. The last line is `N passed, M failed`; the exit status is 1 when one failed.
#   BUILD=build TESTS="rooms limits unit golden sim integration net fuzz install systemd" ONLY=word tests/run.sh
# `make check` also hands over BUILD_STATUS, make's own, and EXPECTED, every file that the build should have made: each one that is
# missing counts as failed.
# ONLY runs what has the word in its name. A script skips itself with exit status 77 and says why in its last line.
set -u
cd "$(dirname "$0")/.."
: "${BUILD:=build}" "${TESTS:=rooms limits unit golden sim integration net fuzz install systemd}" "${ONLY:=}"
: "${TEST_SECONDS:=180}" "${FUZZ_SECONDS:=3}" "${BUILD_STATUS:=0}" "${EXPECTED:=}"
export BUILD FUZZ_SECONDS
unset JOURNAL_STREAM NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID
logs=$BUILD/check
passed=0
failed=0
skipped=0
failures=
mkdir -p "$logs"

now() {
    date +%s
}

# Runs a command in a process group of its own, without standard input, at most TEST_SECONDS.
limited() { # limited LOG COMMAND...
    log=$1
    shift
    setsid --wait timeout --kill-after=10 "$TEST_SECONDS" "$@" </dev/null >"$log" 2>&1
}

fail() { # fail NAME COUNT LOG STATUS
    failed=$((failed + $2))
    failures="$failures $1"
    case $4 in
    124 | 137) echo "  FAIL  $1: no end after $TEST_SECONDS s" ;;
    *) echo "  FAIL  $1 (exit status $4)" ;;
    esac
    sed 's/^/        | /' "$3" | tail -n 60
}

wanted() {
    case $1 in
    *"$ONLY"*) return 0 ;;
    esac
    return 1
}

run_cmocka() { # run_cmocka PROGRAM
    name=${1#"$BUILD"/tests/}
    wanted "$name" || return 0
    log=$logs/$(echo "$name" | tr / _).log
    CMOCKA_MESSAGE_OUTPUT=TAP limited "$log" "$1"
    status=$?
    skips=$(grep -cE '^(not )?ok [0-9]+ # SKIP' "$log") # cmocka writes "not ok N # SKIP name"
    good=$(grep -E '^ok [0-9]+ ' "$log" | grep -cv '# SKIP')
    bad=$(grep -E '^not ok [0-9]+ ' "$log" | grep -cv '# SKIP')
    passed=$((passed + good))
    skipped=$((skipped + skips))
    [ "$skips" -eq 0 ] || grep -hE '# SKIP' "$log" | sed "s|^|  skip  $name: |"
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1 # it died between two results
    elif [ "$status" -eq 0 ] && [ $((good + bad + skips)) -eq 0 ]; then
        bad=1 # a program without a test tests nothing
    fi
    [ "$bad" -eq 0 ] || fail "$name" "$bad" "$log" "$status"
}

run_script() { # run_script NAME COMMAND...
    name=$1
    shift
    wanted "$name" || return 0
    log=$logs/$(echo "$name" | tr / _).log
    limited "$log" "$@"
    status=$?
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
    elif [ "$status" -eq 77 ]; then
        skipped=$((skipped + 1))
        echo "  skip  $name: $(tail -n 1 "$log")"
    else
        fail "$name" 1 "$log" "$status"
    fi
}

programs() { # programs FOLDER: the program of every test file there; one whose source is gone is left alone
    for source in "tests/$1"/test_*.c "tests/unit/$1"/test_*.c; do
        program=$BUILD/tests/$1/$(basename "$source" .c)
        [ ! -x "$program" ] || run_cmocka "$program"
    done
}

group_rooms() { run_script check_rooms tests/check_rooms.sh; }
group_systemd() { run_script check_systemd tests/check_systemd.sh; }
group_boot() { run_script check_boot tests/check_boot.sh; } # of make check-long: root and systemd-nspawn
group_aarch64() { run_script check_aarch64 tests/check_aarch64.sh; } # of make check-long: cross tools and qemu
group_net_long() { run_script net/long tests/net/long.sh; }     # of make check-long: root, namespaces, TUN and nftables
group_limits() { run_script check_limits tests/check_limits.sh; }
group_golden() { programs golden; }
group_sim() { programs sim; }

group_unit() {
    for room in base engine model wire stream policy lib ctl server daemon; do
        programs "$room"
    done
}

group_integration() {
    programs integration
    for script in tests/integration/*.sh; do
        case ${script##*/} in '*.sh' | lib*.sh) continue ;; esac # lib*.sh are what the others source
        run_script "integration/$(basename "$script" .sh)" "$script"
    done
}

group_net() {
    programs net
    run_script net/quick tests/net/net.sh quick
}

group_fuzz() {
    for target in "$BUILD"/tests/fuzz/fuzz_*; do
        [ ! -x "$target" ] || [ "${target%.d}" != "$target" ] ||
            run_script "fuzz/${target##*/}" "$target" -max_total_time="$FUZZ_SECONDS" "tests/fuzz/seeds/${target##*/fuzz_}"
    done
}

group_install() {
    run_script check_install tests/check_install.sh
    run_script check_configs tests/check_configs.sh
}

missing=0
for product in $EXPECTED; do
    if [ ! -e "$product" ]; then
        echo "  FAIL  $product was not built"
        missing=$((missing + 1))
    fi
done
if [ "$BUILD_STATUS" -ne 0 ] && [ "$missing" -eq 0 ]; then
    echo "  FAIL  the build ended with $BUILD_STATUS: what runs below may be old"
    missing=1
fi
[ "$missing" -eq 0 ] || failures=" build"
failed=$((failed + missing))

for group in $TESTS; do
    before=$((passed + failed + skipped))
    start=$(now)
    "group_$group"
    printf '%-12s %4d tests  %4d s\n' "$group" $((passed + failed + skipped - before)) $(($(now) - start))
done

[ -z "$failures" ] || echo "failed:$failures (logs in $logs)"
[ $((passed + failed)) -gt 0 ] || { echo "run.sh: nothing ran"; failed=1; }
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
