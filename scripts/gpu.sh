#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Runs programs on a GPU natively and under vcuda, and compares.
#
#     scripts/gpu.sh pack [FOLDER]   builds, and puts all that is needed into FOLDER (default: build/gpu)
#     FOLDER/gpu.sh [PART...]        there, on a machine with a driver, which needs no compiler:
#                                    programs, recordings, calls, steps, idle, and with a daemon or in guests
#                                    served, vm, guest, guest_calls, guest_idle (default: all)
#     scripts/gpu.sh                 both, on a machine that has everything
#
#     DEVICE      what vcuda executes on (default: nvidia)
#     PROGRAMS    names of test programs, with blanks between (default: all)
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf '\n== %s\n' "$*"; }
# shellcheck source=scripts/gpu_guests.sh
. "$here/gpu_guests.sh"

pack() {
    local to=${1:-$PWD/build/gpu} target=${CARGO_TARGET_DIR:-$PWD/target}/release programs calls
    set -e
    cargo build --release --quiet -p vcuda -p vcuda-cli
    programs=$(tests/build.sh)
    eval "$(tests/toolchain.sh)"
    mkdir -p "$to/programs"
    strip -o "$to/vcuda" "$target/vcuda"
    strip -o "$to/libvcuda.so" "$target/libvcuda.so"
    cp -L "$programs"/* "$to/programs/"
    # These state what the CPU device does: it refuses an instruction, watches for mistakes, ends what never ends.
    rm -f "$to"/programs/{unsupported_instruction,device_launch,machine_code_only,mistakes,never_ends}
    cp -L "$(find -L "$CUDA_ROOT" -name 'libcudart.so.13' | head -1)" "$to/"
    for calls in bench/*.cu; do
        "$NVCC" -O2 -std=c++17 -arch=compute_75 --cudart shared -o "$to/$(basename "${calls%.cu}")" "$calls"
    done
    cp scripts/gpu.sh "$to/"
    pack_guests "$to"
    set +e
}

# What a program says and how it ends, without the worker's sentences.
natively() { LD_LIBRARY_PATH=$here:${LD_LIBRARY_PATH:-} timeout 20 "$@" 2>"$work/stderr"; echo "ends with $?"; }
remoted() { VCUDA_DEVICE=${DEVICE:-nvidia} timeout 20 "$here/vcuda" "$@" 2>"$work/stderr"; echo "ends with $?"; }

# Programs that cannot run natively: they need a libcudart that is not here, or state what only vcuda does.
foreign() { case $1 in abi_* | seed | graph_releases | host_functions_meet | invalid_* | registered_memory | unsupported_*) ;; *) return 1 ;; esac; }

programs() { # [HOW]
    say "Programs, natively and under ${1:-vcuda run}: seconds, and whether what they print is the same"
    compare "vcuda" ran_here
}
ran_here() {
    local start=$EPOCHREALTIME
    remoted run "$here/programs/$1" >"$work/ours"
    seconds=$(awk "BEGIN { print $EPOCHREALTIME - $start }")
}

# compare LABEL RAN: `RAN NAME` leaves what a program printed and how it ended in ours, its error output in stderr
# and its time in $seconds. What it does natively is found out once.
compare() {
    local label=$1 ran=$2 name same native passed=0 all=0
    for name in "${chosen[@]}"; do
        native=$work/native.$name
        if [ ! -e "$native" ]; then
            local start=$EPOCHREALTIME
            if foreign "$name"; then printf 'PASS %s\nends with 0\n' "$name" >"$native"; else natively "$here/programs/$name" >"$native"; fi
            awk "BEGIN { print $EPOCHREALTIME - $start }" >"$native.time"
            cp "$work/stderr" "$native.stderr" 2>/dev/null || : >"$native.stderr"
            : >"$work/stderr"
        fi
        "$ran" "$name"
        all=$((all + 1))
        same="DIFFERENT"
        if cmp -s "$native" "$work/ours"; then same=same; fi
        if grep -q "^PASS $name" "$work/ours" && grep -q "ends with 0" "$work/ours"; then passed=$((passed + 1)); else same="$same FAILS"; fi
        printf '%-26s %6.2f %6.2f  %s\n' "$name" "$(cat "$native.time")" "$seconds" "$same"
        if [ "$same" != same ]; then
            echo "    natively: $(tail -2 "$native" | tr '\n' '|') $(tail -2 "$native.stderr" | tr '\n' '|' | cut -c1-300)"
            echo "    $label: $(tail -2 "$work/ours" | tr '\n' '|') $(tail -2 "$work/stderr" | tr '\n' '|' | cut -c1-300)"
        fi
    done
    echo "$passed of $all pass"
}

recordings() {
    say "Recordings, made and replayed on the GPU and on the CPU device"
    local name made on floats
    for name in vector_add matmul_tiled reduction_shuffle histogram_atomics stencil memcpy_2d_3d pinned_memory managed symbols streams_events surfaces bindless_textures textures nbody mandelbrot; do
        for made in nvidia cpu; do
            DEVICE=$made remoted record -o "$work/$name.$made" "$here/programs/$name" >"$work/out"
            grep -q "ends with 0" "$work/out" || echo "$name is not recorded on $made: $(tail -1 "$work/stderr")"
            for on in nvidia cpu; do
                floats=
                case $name in nbody | textures) [ $made = $on ] || floats="--tolerance 1e-4" ;; esac
                # shellcheck disable=SC2086
                DEVICE=$on remoted replay $floats "$work/$name.$made" >"$work/out"
                printf '%-20s made on %-7s replayed on %-7s %s\n' "$name" $made $on "$(grep -v '^note\|ends with' "$work/out" | tail -1 | cut -c1-220) $(grep -h 'vcuda:' "$work/stderr" | tail -1 | cut -c1-200)"
            done
        done
    done
}

# Three tables of callbench beside each other, with what each row is to the first. A rate is better when it is higher.
beside() {
    paste -d '|' "$@" | awk -F '|' '
        { split(substr($1, 36), a, " "); split(substr($2, 36), b, " "); split(substr($3, 36), c, " ") }
        a[2] > 0 { printf "%-34s %-5s %10.3f %10.3f (%.2f) %10.3f (%.2f)\n", substr($1, 1, 34), a[1], a[2], b[2], b[2] / a[2], c[2], c[2] / a[2] }'
}

calls() {
    say "What calls cost: natively, under vcuda (ratio), under vcuda and recorded (ratio); three rounds"
    for _ in 1 2 3; do
        # The driver puts a GPU to sleep some time after its last process.
        sleep 2
        natively "$here/callbench" >"$work/native"
        sleep 2
        remoted run "$here/callbench" >"$work/ours"
        sleep 2
        remoted record -o "$work/calls.vcuda" "$here/callbench" 1 calls >"$work/recorded"
        rm -f "$work/calls.vcuda"
        beside "$work/native" "$work/ours" "$work/recorded"
        echo
    done
}

steps() {
    say "The step of callbench without and with recording, in turns (us), and the medians"
    for _ in 1 2 3 4 5 6 7; do
        remoted run "$here/callbench" 1 calls | awk '/^step/ { print $NF }' >>"$work/plain"
        remoted record -o "$work/t.vcuda" "$here/callbench" 1 calls | awk '/^step/ { print $NF }' >>"$work/recorded.steps"
        rm -f "$work/t.vcuda"
    done
    paste "$work/plain" "$work/recorded.steps"
    echo "$(sort -n "$work/plain" | sed -n 4p) $(sort -n "$work/recorded.steps" | sed -n 4p)" | awk '{ printf "medians %s and %s: %.3f\n", $1, $2, $2 / $1 }'
}

idle() {
    say "CPU time of an idle session: clock ticks (1/100 s) of the program and its worker in 5 s"
    local pid worker before
    VCUDA_DEVICE=nvidia "$here/vcuda" run "$here/idle" >/dev/null 2>&1 &
    pid=$!
    sleep 4
    worker=$(pgrep -n -f "vcuda worker")
    ticks() { for p in $pid $worker; do awk '{ printf "%d ", $14 + $15 }' "/proc/$p/stat"; done; }
    before=$(ticks)
    sleep 5
    echo "before: $before after: $(ticks)"
    kill $pid
}

if [ "${1:-}" = pack ]; then
    cd "$here/.."
    pack "${2:-}"
    exit
fi
if [ ! -x "$here/vcuda" ]; then
    cd "$here/.."
    pack ""
    exec build/gpu/gpu.sh "$@"
fi
read -ra chosen <<<"${PROGRAMS:-$(cd "$here/programs" && echo *)}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nvidia-smi -L
[ $# -gt 0 ] || set -- programs recordings calls steps idle served vm guest guest_calls guest_idle
for part in "$@"; do "$part"; done
