#!/usr/bin/env bash
# Runs the tests of the client over librdkafka under AddressSanitizer and LeakSanitizer: fetched.rs and produced.rs in connector/kafka/native
# hold the unsafe code of the crate. They bring their broker along. librdkafka is compiled with the sanitizer too, if the C compiler has one;
# else Rust alone, and of the library what it allocates and frees.
#
#   tests/kafka/sanitize.sh [arguments of the test binary]
#
# Takes four minutes on two cores the first time, one after a change of the crate; the tests themselves four seconds. It has a target folder of its own
# (SANITIZE_TARGET_DIR). Prints SKIP and exits with 77 where the toolchain has no sanitizer.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${SANITIZE_TARGET_DIR:-target/sanitize}

host=$(rustc -vV | sed -n 's/^host: //p')
[ "$host" = x86_64-unknown-linux-gnu ] || { echo "SKIP sanitizer: not tried on $host"; exit 77; }
runtime=$(rustc --print target-libdir)
ls "$runtime"/librustc*_rt.asan.a >/dev/null 2>&1 || { echo 'SKIP sanitizer: this toolchain has no runtime of AddressSanitizer'; exit 77; }
pkg-config --exists openssl 2>/dev/null || { echo 'SKIP sanitizer: librdkafka needs the headers of OpenSSL'; exit 77; }

# What the compiler puts into the library's objects calls the runtime that rustc links; GCC's and Clang's calls are the same.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
flags='-fsanitize=address -fno-omit-frame-pointer'
echo 'int main(void) { return 0; }' >"$scratch/try.c"
if [ "${SANITIZE_C:-yes}" = yes ] && ${CC:-cc} $flags -c "$scratch/try.c" -o "$scratch/try.o" 2>/dev/null; then
  export CFLAGS="$flags"
  echo 'AddressSanitizer in Rust and in librdkafka'
else
  echo 'AddressSanitizer in Rust alone'
fi

# The switch is one of nightly compilers; the runtime comes with stable ones.
export RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address' CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$target"
export ASAN_OPTIONS="detect_leaks=1:detect_stack_use_after_return=1:abort_on_error=0:${ASAN_OPTIONS:-}"
# The crate rdkafka keeps a handle of each client's main queue for ever: 24 bytes and the queue.
echo 'leak:rdkafka::client::Client*new_context_arc' >"$scratch/leaks"
export LSAN_OPTIONS="suppressions=$scratch/leaks:${LSAN_OPTIONS:-}"
timeout 1800 cargo test -q --features rdkafka --lib --target "$host" --no-run
timeout 300 cargo test -q --features rdkafka --lib --target "$host" connector::kafka::native -- "$@"
