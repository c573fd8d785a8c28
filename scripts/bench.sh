#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Prints the figures of docs/performance.md, each beside its alternative, from one run:
#
#     scripts/bench.sh [calls] [device] [pocl] [record] [guest] [analyze FILE]     (default: all but pocl and analyze)
#
# The machine should be otherwise idle. Compare ratios, not times.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh

cargo build --release --quiet -p vcuda -p vcuda-cli
vcuda=${CARGO_TARGET_DIR:-$PWD/target}/release/vcuda
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

seconds() { local start=$EPOCHREALTIME; "$@" >/dev/null 2>&1 || true; local end=$EPOCHREALTIME; awk "BEGIN { print $end - $start }"; }

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

# Installs PoCL, an OpenCL for processors, if it is missing.
pocl() {
    say "The CPU device beside PoCL, all cores"
    need /usr/include/CL/cl.h opencl-headers /etc/OpenCL/vendors/pocl.icd pocl-opencl-icd \
        "/usr/lib/$(gcc -print-multiarch)/libOpenCL.so" ocl-icd-opencl-dev
    g++ -O2 -std=c++17 -o "$work/pocl" bench/pocl.cpp -lOpenCL
    cargo run --release --quiet -p vcuda-ptx --example bench "$work/pocl" bench/pocl.cl
}

guest() {
    say "From inside a virtual machine (QEMU, interpreted), beside TCP through its network device; all on one core"
    eval "$(tests/toolchain.sh)"
    "$NVCC" -O2 -std=c++17 -arch=compute_75 --cudart shared -o "$work/guest" bench/guest.cu
    g++ -O2 -std=c++17 -pthread -o "$work/proxy" bench/proxy.cpp
    "$vcuda" shims "$work/shims" >/dev/null
    local kernel library daemon proxy
    library=$(dirname "$vcuda")/libvcuda.so
    kernel=$(scripts/vm/kernel.sh 6.1)
    LD_LIBRARY_PATH=$work/shims scripts/vm/initramfs.sh "$work/initramfs" --kernel "$kernel" \
        --module "$(scripts/vm/module.sh "$kernel")" "$library" "$work/guest" "$work/shims"
    VCUDA_LOG=warn taskset -c 0 "$vcuda" serve --vhost-user "$work/vcuda.sock" &
    daemon=$!
    taskset -c 0 "$work/proxy" "$work/proxy.sock" >"$work/port" &
    proxy=$!
    while [ ! -S "$work/vcuda.sock" ] || [ ! -s "$work/port" ]; do sleep 0.1; done
    taskset -c 0 scripts/vm/boot.sh debian --initramfs "$work/initramfs" --socket "$work/vcuda.sock" --network --memory 1024 \
        --time 400 -- env LD_PRELOAD="$library" LD_LIBRARY_PATH="$work/shims" "$work/guest" 10.0.2.2 "$(cat "$work/port")" \
        2>"$work/console" || tail -n 20 "$work/console"
    kill "$daemon" "$proxy"
    wait "$daemon" "$proxy" 2>/dev/null || true
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

record() {
    say "A program of 100,000 launches: seconds without and with recording, in turns"
    local program i
    program=$(tests/build.sh many_launches)/many_launches
    for i in 1 2 3 4 5 6 7; do
        seconds "$vcuda" run "$program" 100000 >>"$work/plain"
        rm -f "$work/t.vcuda"
        VCUDA_RECORD=$work/t.vcuda seconds "$vcuda" run "$program" 100000 >>"$work/recorded"
    done
    paste "$work/plain" "$work/recorded"
    echo "$(median <"$work/plain") $(median <"$work/recorded")" \
        | awk '{ printf "medians: %.3f s and %.3f s; recording costs %.1f %%\n", $1, $2, 100 * ($2 / $1 - 1) }'
    echo "the trace has $(stat -c %s "$work/t.vcuda") bytes"
}

analyze() {
    say "vcuda analyze beside nm -D, on $1 ($(stat -c %s "$1") bytes)"
    local i
    # The first reading of the file is the disk's affair.
    "$vcuda" analyze "$1" >/dev/null || true
    for i in 1 2 3 4 5 6 7; do
        seconds nm -D "$1" >>"$work/nm"
        seconds "$vcuda" analyze "$1" >>"$work/analyze" || true
    done
    paste "$work/nm" "$work/analyze"
    echo "$(median <"$work/nm") $(median <"$work/analyze")" \
        | awk '{ printf "medians: nm -D %.4f s, analyze %.4f s: %.2f of it\n", $1, $2, $2 / $1 }'
}

[ $# -gt 0 ] || set -- calls device record guest
while [ $# -gt 0 ]; do
    case $1 in
        calls | device | pocl | record | guest) "$1" ;;
        analyze)
            shift
            analyze "${1:?analyze needs a file}"
            ;;
        *) echo "bench: unknown part $1" >&2; exit 2 ;;
    esac
    shift
done
