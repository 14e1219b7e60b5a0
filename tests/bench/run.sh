#!/bin/sh
# run.sh: runs the benchmarks that `make bench` has built, and keeps their tables under $BUILD/bench/.
set -eu

bins=$BUILD/tests/bench
out=$BUILD/bench
certs=$(mktemp -d)
trap 'rm -r "$certs"' EXIT
mkdir -p "$out"
deploy/certs.sh "$certs" ca >"$certs/log"
deploy/certs.sh "$certs" server server 127.0.0.1 >>"$certs/log"
deploy/certs.sh "$certs" client client >>"$certs/log"
"$bins/bench_conn" "${ROUNDS:-2000}" "$certs" >"$out/conn.txt"
cat "$out/conn.txt"
"$bins/bench_decide" "$out/decide_time.csv" >"$out/decide_time.txt"
cat "$out/decide_time.txt"
tests/bench/latency.sh | tee "$out/latency.txt"
"$bins/bench_engine" "$out/engine.csv" "$out" deploy/models/*.gguf | tee "$out/engine.txt"
"$bins/bench_memory" "$out/kv_memory.csv" "$out" | tee "$out/kv_memory.txt"
