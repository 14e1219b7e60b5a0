#!/bin/sh
# The page of the paper's comparison is what its CSV gives, and every line of the CSV is whole.
set -eu
cd "$(dirname "$0")/../.."
command -v python3 >/dev/null || { echo "python3 is not installed"; exit 77; }
exec python3 -B deploy/models/paper_table.py --check
