#!/usr/bin/env bash
# Runs the Kafka suite against real brokers: starts Apache Kafka 3.9 and 4.1, one node each, and stops them at the end. Then hurts
# engine and brokers while jobs run (faults.py); FAULT_SCALE=full kills as often as a full run does; does what the documentation
# says (walk.py); and runs the benchmark `kafka` for a moment, beside Kafka Streams where that can be had.
#
#   tests/kafka/run.sh [arguments of the test binary, e.g. a test's name: then no faults]
#
# The client over librdkafka under AddressSanitizer is a step of its own, without brokers: tests/kafka/sanitize.sh.
#
# Needs java 17 and mvn; without them, or if the artifacts can't be had, it prints SKIP and exits with 77.
set -euo pipefail
cd "$(dirname "$0")/../.."
versions=(3.9.1 4.1.0)
broker=tests/kafka/broker.sh
target=${CARGO_TARGET_DIR:-target}

for tool in java mvn python3; do
  command -v "$tool" >/dev/null || { echo "SKIP Kafka brokers: $tool is not installed"; exit 77; }
done
pkg-config --exists openssl 2>/dev/null || { echo 'SKIP Kafka brokers: librdkafka needs the headers of OpenSSL'; exit 77; }
for version in "${versions[@]}"; do
  timeout 300 "$broker" libs "$version" || { echo "SKIP Kafka brokers: the artifacts of Kafka $version can't be had"; exit 77; }
done

# Before the brokers, so that they do not wait for a compiler.
cargo test -q --no-run --features rdkafka --lib --test kafka_brokers
if [ $# -eq 0 ]; then
  cargo build -q --features rdkafka --bin millstream
  cargo build -q -p millstream-bench --features rdkafka
fi
dir=$(mktemp -d)
# A copy: what cargo does meanwhile, without the feature, must not come in between.
engine=$dir/millstream
[ $# -gt 0 ] || cp "$target/debug/millstream" "$engine"
finish() {
  local version
  for version in "${versions[@]}"; do "$broker" stop "$dir/$version"; done
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

failed=()
part() { # part NAME COMMAND…: what it says goes into a file too; what failed is told at the end
  local name=$1 code=0
  shift
  "$@" 2>&1 | tee "$dir/$name.log" || code=${PIPESTATUS[0]}
  [ "$code" -eq 0 ] || { failed+=("$name"); echo "exit code $code$([ "$code" -ne 124 ] || echo ': its time is over')" >>"$dir/$name.log"; }
}
tell() { # The end of this script is what is read first: which part, why, and what was said last.
  local name version
  [ ${#failed[@]} -gt 0 ] || return 0
  for name in "${failed[@]}"; do
    printf '\n--- %s FAILED; its last lines:\n' "$name"
    tail -n 20 "$dir/$name.log" | cut -c 1-400
  done
  for version in "${versions[@]}"; do
    [ ! -s "$dir/$version/log" ] || { printf -- '--- the last words of Kafka %s\n' "$version"; tail -n 10 "$dir/$version/log" | cut -c 1-300; }
  done
  for name in "${failed[@]}"; do grep -E 'FAILED|panicked at|exit code|seed|ended with|not within' "$dir/$name.log" | cut -c 1-200 | tail -n 6; done
  echo "Kafka on real brokers, FAILED: ${failed[*]}"
  exit 1
}

# The clients' own tests bring their brokers along.
[ $# -gt 0 ] || part clients timeout 120 cargo test -q --features rdkafka --lib connector::kafka

pids=()
for version in "${versions[@]}"; do
  "$broker" start "$version" "$dir/$version" >/dev/null &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done

MILLSTREAM_KAFKA_3=$(cat "$dir/${versions[0]}/address")
MILLSTREAM_KAFKA_4=$(cat "$dir/${versions[1]}/address")
MILLSTREAM_KAFKA_LIBS=$(cd "$target/kafka/libs-${versions[1]}" && pwd)
export MILLSTREAM_KAFKA_3 MILLSTREAM_KAFKA_4 MILLSTREAM_KAFKA_LIBS
part suite timeout "${KAFKA_TEST_SECONDS:-300}" cargo test --features rdkafka --test kafka_brokers -- --test-threads=4 "$@"
[ $# -eq 0 ] || { tell; exit 0; }

# Shows that the benchmark works, and that what it writes is right; measures nothing.
benchmark() {
  local streams=()
  if libs=$(timeout 120 "$broker" streams "${versions[1]}"); then streams=(--streams "$libs")
  else echo 'SKIP Kafka Streams beside the benchmark: its artifacts cannot be had'; fi
  timeout 300 "$target/debug/millstream-bench" kafka --servers "$MILLSTREAM_KAFKA_4" --quick "${streams[@]}" --json "$dir/bench.jsonl" \
    --only 'bare loop,raw,raw transactional,filter,windows,streams filter' &&
    timeout 300 "$target/debug/millstream-bench" kafka --servers "$MILLSTREAM_KAFKA_4" --quick --backlog 20000 --only 'to a topic,to nowhere' \
      --json "$dir/backlog.jsonl" &&
    python3 tests/kafka/bench.py "$dir/bench.jsonl" "$dir/backlog.jsonl"
}
part benchmark benchmark

for version in "${versions[@]}"; do "$broker" stop "$dir/$version"; done

# What clients and brokers say to each other differs little between the versions: both get the most important faults, one of them the rest.
faults="python3 tests/kafka/faults.py $engine"
$faults "${versions[0]}" --only kills engine-stopped engine-stopped-slow zombie group group-counts group-eager group-library group-simple group-split group-lost >"$dir/faults" 2>&1 &
older=$!
part "faults-${versions[1]}" $faults "${versions[1]}" --only kills broker-killed broker-stopped engine-stopped zombie network \
  group group-counts group-counts-eager group-stopped
part walk python3 tests/kafka/walk.py "$engine"
code=0
wait "$older" || code=$?
part "faults-${versions[0]}" bash -c 'cat "$1"; exit "$2"' _ "$dir/faults" "$code"
tell
