#!/usr/bin/env bash
# Every fault test, and its result as a file: tests/faults.sh [SCALE [PART…]] > tests/faults_result.txt
# SCALE multiplies the usual counts, `full` is everything (hours); default 1. PARTs are functions below; default all of them.
# What can't be done here prints SKIP and why. From a scale of 2 on everything is built with optimization (profile `faults`).
set -uo pipefail
cd "$(dirname "$0")/.."
export FAULT_SCALE=${1:-1} CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
case $FAULT_SCALE in 0* | 1 | 1.*) profile=dev dir=debug ;; *) profile=faults dir=faults ;; esac
build=(--profile "$profile" --features disk-state)
binary=target/$dir/millstream
failed=0
part() { # part NAME COMMAND…: its lines that count, or all if it fails
  echo "--- $1"
  shift
  local out
  if out=$("$@" 2>&1); then grep -E '^seed|^seeds|starts,|kills|runs \(|SKIP|test result|found|put groups' <<<"$out"
  else failed=1; tail -40 <<<"$out"; fi
}
simulator() { part simulator cargo test -q "${build[@]}" --test simulator -- --nocapture; }
kills() { part 'kills at random moments' python3 tests/kill/kill.py "$binary"; }
syscalls() { part 'kills at system calls' python3 tests/kill/kill.py "$binary" --syscalls; }
disk() { part 'disks that fail' python3 tests/kill/disk.py "$binary"; }
state() { part 'checkpoint and MANIFEST, cut and flipped' cargo test -q --features disk-state --lib state::; }
panics() { part 'panics and errors of each stage' cargo test -q --test failure --test recovery --test transactional --test parts; }
bugs() {
  RUSTC_WORKSPACE_WRAPPER=$PWD/.ci/seeded_bugs part 'seeded bugs' cargo test -q --test simulator every_seeded_bug -- --nocapture
}
all=(simulator kills syscalls disk state panics bugs)
parts=("${@:2}")
[ ${#parts[@]} -gt 0 ] || parts=("${all[@]}")
[[ $FAULT_SCALE =~ ^(full|[0-9]*\.?[0-9]+)$ ]] || { echo "SCALE is 'full' or a number, not '$FAULT_SCALE'" >&2; exit 2; }
for name in "${parts[@]}"; do
  [[ " ${all[*]} " == *" $name "* ]] || { echo "there is no part '$name'; parts are: ${all[*]}" >&2; exit 2; }
done
cargo build -q "${build[@]}" || exit 1
echo "$(date -u '+%Y-%m-%d %H:%M UTC'), commit $(git rev-parse --short HEAD), $(nproc) cores, $(uname -sr), FAULT_SCALE=$FAULT_SCALE"
for name in "${parts[@]}"; do "$name"; done
exit $failed
