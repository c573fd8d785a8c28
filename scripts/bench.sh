#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Prints the figures of docs/performance.md, each beside its alternative, from one run:
#
#     scripts/bench.sh [calls] [device] [record] [analyze FILE]     (default: all but analyze)
#
# The machine should be otherwise idle. Compare ratios, not times.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh

cargo build --release --quiet -p vcuda -p vcuda-cli
vcuda=${CARGO_TARGET_DIR:-$PWD/target}/release/vcuda
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

seconds() { local start=$EPOCHREALTIME; "$@" >/dev/null 2>&1; local end=$EPOCHREALTIME; awk "BEGIN { print $end - $start }"; }

calls() {
    say "Calls and copies through the ring (CPU device)"
    eval "$(tests/toolchain.sh)"
    "$NVCC" -O2 -std=c++17 -arch=compute_75 --cudart shared -o "$work/calls" bench/calls.cu
    "$vcuda" run "$work/calls"
}

device() {
    say "The CPU device beside gcc -O3, one thread"
    cargo run --release --quiet -p vcuda-ptx --example bench
}

record() {
    say "Recording a program of 100,000 launches: seconds without, with, in turns"
    local program=$(tests/build.sh many_launches)/many_launches i plain recorded
    for i in 1 2 3 4 5; do
        plain=$(seconds "$vcuda" run "$program" 100000)
        rm -f "$work/t.vcuda"
        recorded=$(seconds "$vcuda" record -o "$work/t.vcuda" "$program" 100000)
        echo "$plain $recorded"
    done | sort -n | awk '{ print; p[NR] = $1; r[NR] = $2 } END {
        n = asort_(r); printf "median: recording costs %.1f %%\n", 100 * (r[int((NR + 1) / 2)] / p[int((NR + 1) / 2)] - 1) }
        function asort_(a,  i, j, t) { for (i = 1; i < NR; i++) for (j = i + 1; j <= NR; j++) if (a[j] < a[i]) { t = a[i]; a[i] = a[j]; a[j] = t } return NR }'
    ls -l "$work/t.vcuda" | awk '{ print "trace: " $5 " bytes" }'
}

analyze() {
    say "vcuda analyze beside nm -D, on $1 ($(stat -c %s "$1") bytes)"
    local i
    for i in 1 2 3 4 5; do
        echo "$(seconds nm -D "$1") $(seconds "$vcuda" analyze "$1" || true)"
    done | awk '{ print "nm -D " $1 " s, analyze " $2 " s"; n += $1; a += $2 } END { printf "analyze takes %.2f of nm -D\n", a / n }'
}

[ $# -gt 0 ] || set -- calls device record
while [ $# -gt 0 ]; do
    case $1 in
        calls | device | record) "$1" ;;
        analyze)
            shift
            analyze "${1:?analyze needs a file}"
            ;;
        *) echo "bench: unknown part $1" >&2; exit 2 ;;
    esac
    shift
done
