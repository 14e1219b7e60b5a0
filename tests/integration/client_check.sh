#!/bin/sh
# Configurations that cannot work are refused before anything starts: one line that names the file, the key and what is
# wrong, from --check-config and from a real start alike. usage: client_check.sh BUILD
set -u
bin=$(cd "${1:-${BUILD:-build}}" && pwd)/bin
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d)
passed=0 failed=0
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/tasks" "$dir/state"
for who in ca "client one" "client two"; do
    sh "$top/deploy/certs.sh" "$dir/certs" $who > "$dir/certs.log" 2>&1 || cat "$dir/certs.log" # two words on purpose
done
model=$top/deploy/models/objects-local.gguf
ten=a,b,c,d,e,f,g,h,i,j
# config EDGE_LINES TASK_LINES [MODEL]: both files anew
config() {
    printf '[client]\napp_socket = %s/app.sock\nstatus_socket = %s/status.sock\ntasks_dir = %s/tasks\nstate_dir = %s/state\n%b\n' \
        "$dir" "$dir" "$dir" "$dir" "$1" > "$dir/client.conf"
    printf '[task]\nkind = classify\ndefault_deadline_ms = 321\n%b\n[local]\nmodel = %s\n' "$2" "${3:-$model}" \
        > "$dir/tasks/objects.conf"
}
says() { # says NAME STATUS PATTERN: of --check-config
    timeout 60 "$bin/tandem-client" --config "$dir/client.conf" --check-config > "$dir/out" 2>&1
    status=$?
    if [ "$status" -eq "$2" ] && grep -q "$3" "$dir/out"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s: status %s, wanted %s and %s in:\n' "$1" "$status" "$2" "$3"
        cat "$dir/out"
    fi
}
edge='[edge den]\nurl ='
tls() { # tls CERT KEY CA
    printf '[edge den]\\nurl = tcp://127.0.0.1:17447\\n[tls]\\ncert = %s\\nkey = %s\\nca = %s' "$1" "$2" "$3"
}
config "$edge tcp://127.0.0.1:17447" "labels = $ten"
says 'a good one' 0 '"deadline_ms":321'
says 'an example for people' 0 '^# example: a request with a deadline of 321 ms, before any edge is connected:$'
says 'its route' 0 '^#   \* local  .* ms (p95 .*), late 0.000, wrong 0\.[0-9]*, 0 bytes, cost [0-9.]* ms$'
says 'its reason' 0 '^#   chosen: local: no edge connected$'
says 'an example for programs' 0 '^# json: {"daemon":"tandem-client",.*}$'
if script -qec "'$bin/tandem-client' --config '$dir/client.conf' --check-config" /dev/null > "$dir/out" 2>&1 < /dev/null &&
    grep -q '^# example: ' "$dir/out" && ! grep -q 'json' "$dir/out"; then
    passed=$((passed + 1))
else
    failed=$((failed + 1)) && echo 'FAILED on a terminal' && cat "$dir/out"
fi
says 'its task' 0 '^default_deadline_ms = 321'
config "$edge 127.0.0.1:17447" ''
says 'no scheme' 1 "client.conf:7: \[edge den\] url: '127.0.0.1:17447' is not tcp"
timeout 60 "$bin/tandem-client" --config "$dir/client.conf" > "$dir/out" 2>&1
if grep -q 'client.conf:7: \[edge den\] url:' "$dir/out"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo 'FAILED at start'; fi
config "$edge tcp://127.0.0.1" ''
says 'no port' 1 "client.conf:7: \[edge den\] url: 'tcp://127.0.0.1' is not tcp"
config "$edge tcp://127.0.0.1:0" ''
says 'port 0' 1 '\[edge den\] url: .* names no host or no port'
config "$edge tcp://127.0.0.1:1\ntoken_file = $dir/nosuch" ''
says 'no token' 1 "client.conf:8: \[edge den\] token_file: '$dir/nosuch' No such file"
config "$(tls "$dir/nosuch.pem" "$dir/certs/one.key" "$dir/certs/ca.pem")" ''
says 'no certificate' 1 'client.conf:9: \[tls\] cert: .*nosuch.pem: No such file'
config "$(tls "$dir/certs/one.pem" "$dir/certs/two.key" "$dir/certs/ca.pem")" ''
says 'a stranger'"'"'s key' 1 'client.conf:10: \[tls\] key: .*two.key does not belong to .*one.pem'
config "$(tls "$dir/certs/one.pem" "$dir/certs/one.key" "$dir/certs/ca.pem")" ''
says 'good files' 0 '^cert = '
says 'what is done with pictures' 0 '^# pictures go to edges as: original (no upload_effects: nothing was measured)'
config "$edge tcp://127.0.0.1:17447" "upload = original\n[edge]\nupload_effects = $top/deploy/models/objects-edge.forms.csv"
says 'as they came, if the task says so' 0 '^# pictures go to edges as: original (the task says so'
config "$edge tcp://127.0.0.1:17447" "[edge]\nupload_effects = $top/deploy/models/objects-edge.forms.csv"
says 'smaller, where that was measured' 0 '^# pictures go to edges as: auto (by what upload_effects measured: model [0-9a-f]*, [0-9]* pictures)'
config "$edge tcp://127.0.0.1:17447" "[edge]\nupload_effects = nosuch.csv"
says 'no such effects' 1 'tasks/objects.conf:5: \[edge\] upload_effects: .*nosuch.csv: No such file'
config "$edge tcp://127.0.0.1:17447" "[edge]\nupload_effects = $top/README.md"
says 'other effects' 1 'tasks/objects.conf:5: \[edge\] upload_effects: .*README.md:1: the first line is not model_digest'
config "$edge tcp://127.0.0.1:17447" 'leaves_device = attic'
says 'no such edge' 1 'tasks/objects.conf:4: \[task\] leaves_device: no \[edge attic\] is configured'
config "$edge tcp://127.0.0.1:17447" 'leaves_device = den'
says 'that edge' 0 '^leaves_device = den'
config '' "labels = a,b,c,d,e,f,g,h,i,a"
says 'a label twice' 1 "tasks/objects.conf.*\[task\] labels: 'a' is there twice"
config '' 'labels = a,b,c,d,e,f,g,h,i'
says 'nine labels' 1 'tasks/objects.conf:4: \[task\] labels: 9, but .*objects-local.gguf has 10 classes'
config '' '' "$dir/nosuch.gguf"
says 'no model' 1 'tasks/objects.conf:6: \[local\] model: .*nosuch.gguf'
config '' ''
rmdir "$dir/state"
says 'no state folder' 0 'warning: \[client\] state_dir: .*/state: No such file or directory: decisions would not be kept'
mkdir "$dir/state"
printf '[client]\napp_socket = /x.sock\nstatus_socket = /x.sock\n' > "$dir/client.conf"
says 'one socket for both' 1 'client.conf:3: \[client\] status_socket: app_socket and status_socket are both /x.sock'
config '' ''
"$bin/tandem-model" convert "$top/tests/golden/checkpoints/lm_mqa.pt" "$dir/wordless.gguf" > "$dir/convert.log" 2>&1 ||
    cat "$dir/convert.log"
printf '[task]\nkind = detect\n[local]\nmodel = %s\n' "$model" > "$dir/tasks/objects.conf"
says 'no detector' 1 'tasks/objects.conf:2: \[task\] kind: detect: no model of this version finds boxes'
printf '[task]\nkind = generate\n[local]\nmodel = %s\n' "$dir/wordless.gguf" > "$dir/tasks/objects.conf"
says 'no tokenizer' 1 'wordless.gguf: a model of architecture gpt2 without a tokenizer does not serve tasks of kind generate$'
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
