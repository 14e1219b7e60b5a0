#!/bin/sh
# What `make fuzz` runs after the build with libFuzzer: one target after the other, FUZZ_SECONDS each. What is found to reach new code
# is kept in $BUILD/corpus/NAME for the next time; an input that fails lies in $BUILD/found/ and belongs into seeds/NAME once the code
# is mended. ONLY=word runs what has the word in its name.
#   BUILD=build-fuzz FUZZ_SECONDS=60 ONLY= tests/fuzz/run.sh
set -u
cd "$(dirname "$0")/../.."
: "${BUILD:=build-fuzz}" "${FUZZ_SECONDS:=60}" "${ONLY:=}"
failed=0 ran=0
mkdir -p "$BUILD/found"
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    case $name in
    *"$ONLY"*) ;;
    *) continue ;;
    esac
    corpus=$BUILD/corpus/$name
    log=$BUILD/found/$name.log
    mkdir -p "$corpus"
    ran=$((ran + 1))
    if "$BUILD/tests/fuzz/fuzz_$name" -max_total_time="$FUZZ_SECONDS" -timeout=25 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$BUILD/found/$name-" "$corpus" "tests/fuzz/seeds/$name" >"$log" 2>&1; then
        echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $(find "$corpus" -type f | wc -l) kept"
    else
        failed=$((failed + 1))
        echo "$name: FAILED, the last lines of $log:"
        tail -n 30 "$log" | sed 's/^/    /'
    fi
done
echo "fuzz: $ran targets, $failed failed"
[ "$failed" -eq 0 ] && [ "$ran" -gt 0 ]
