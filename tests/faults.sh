#!/usr/bin/env bash
# Every fault test, and its result as a file: tests/faults.sh [SCALE] > tests/faults_result.txt
# SCALE multiplies the usual counts, `full` is everything (hours); default 1. What can't be done here prints SKIP and why.
set -uo pipefail
cd "$(dirname "$0")/.."
export FAULT_SCALE=${1:-1} CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
echo "$(date -u '+%Y-%m-%d %H:%M UTC'), commit $(git rev-parse --short HEAD), $(nproc) cores, $(uname -sr), FAULT_SCALE=$FAULT_SCALE"
failed=0
part() { # part NAME COMMAND…: its lines that count, or all if it fails
  echo "--- $1"
  shift
  local out
  if out=$("$@" 2>&1); then grep -E '^seed|^seeds|starts,|kills|runs \(|SKIP|test result|found' <<<"$out"
  else failed=1; tail -40 <<<"$out"; fi
}
cargo build -q || exit 1
part simulator cargo test -q --test simulator -- --nocapture
part 'kills at random moments' python3 tests/kill/kill.py target/debug/millstream
part 'kills at system calls' python3 tests/kill/kill.py target/debug/millstream --syscalls
part 'disks that fail' python3 tests/kill/disk.py target/debug/millstream
part 'checkpoint and MANIFEST, cut and flipped' cargo test -q --lib state::
RUSTC_WORKSPACE_WRAPPER=$PWD/.ci/seeded_bugs part 'seeded bugs' cargo test -q --test simulator every_seeded_bug -- --nocapture
exit $failed
