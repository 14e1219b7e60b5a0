#!/bin/sh
# Every bound of common/base/limits.h is named by a test that hits it.
set -u
cd "$(dirname "$0")/.."
missing=0
for limit in $(sed -n 's/^#define \(LIMIT_[A-Z0-9_]*\) .*/\1/p' common/base/limits.h); do
    if ! grep -rqw "$limit" --include='*.c' --include='*.h' --include='*.sh' --include='*.py' --exclude=check_limits.sh tests; then
        users=$(grep -rlw "$limit" --include='*.[ch]' common client server | grep -v limits.h | tr '\n' ' ')
        echo "$limit: no test names it (used by: ${users:-nobody})"
        missing=$((missing + 1))
    fi
done
[ "$missing" -eq 0 ] || echo "$missing limits have no test"
[ "$missing" -eq 0 ]
