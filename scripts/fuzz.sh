#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Runs every fuzz target for SECONDS each (default 60): scripts/fuzz.sh [SECONDS] [TARGET...]
#
# The targets are plain libFuzzer binaries. Coverage needs flags that stable Rust does not offer,
# hence RUSTC_BOOTSTRAP; they are given for the whole build, as cargo-fuzz would give them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../fuzz"
seconds=${1:-60}
shift || true
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions --cfg fuzzing"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target}/fuzz
# A target of its own, so that build scripts are not instrumented.
cargo build --release --target "$host" --bins --quiet
for source in fuzz_targets/*.rs; do
    target=$(basename "$source" .rs)
    [ $# -eq 0 ] || [[ " $* " == *" $target "* ]] || continue
    corpus=$CARGO_TARGET_DIR/corpus/$target
    mkdir -p "$corpus"
    seeds=()
    [ -d "seeds/$target" ] && seeds=("seeds/$target")
    echo "fuzz: $target for $seconds s"
    # The log is long; it is shown when something was found.
    "$CARGO_TARGET_DIR/$host/release/$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=10 \
        -max_len=65536 "$corpus" "${seeds[@]}" >"$CARGO_TARGET_DIR/$target.log" 2>&1 \
        || { tail -50 "$CARGO_TARGET_DIR/$target.log"; exit 1; }
done
