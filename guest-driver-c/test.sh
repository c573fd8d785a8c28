#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
#
# Tests the driver:
#
#     guest-driver-c/test.sh [build] [fast] [debug] [hostile] [qemu]    # by default all but the last
#
#     build      against the headers of Linux 6.1 and 6.12, with W=1 and sparse: not one message
#     fast       in a User-mode Linux guest, with a device that keeps the rules (tests/device)
#     debug      the same with KASAN, lockdep and kmemleak, and with each allocation failing once;
#                before that, three planted bugs must be found
#     hostile    with a device that breaks the rules, under the same kernel
#     qemu       on two processors, over PCI: Linux 6.1 with a stand-in device of the distribution's
#                QEMU, and Linux 6.12 with the QEMU of qemu-patch/
#
# VCUDA_TEST_SECONDS (default 4) is how long each kind of stress lasts, VCUDA_HOSTILE_SEEDS
# (default "1 2 3 4") which hostile devices there are. Kernels come from scripts/vm, which keeps
# them in the cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(dirname "$here")
vm=$repository/scripts/vm
seconds=${VCUDA_TEST_SECONDS:-4}
seeds=${VCUDA_HOSTILE_SEEDS:-1 2 3 4}
sources=("$here"/{Kbuild,Makefile,vcuda.h,include} "$here"/vcuda_*.c)

say() { echo "driver: $*" >&2; }
die() { say "$*"; exit 1; }

. "$repository/scripts/packages.sh"

work=$(mktemp -d /tmp/vcuda-driver.XXXXXX)
device=""
end() {
    [ -z "$device" ] || kill "$device" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT

# module FOLDER KDIR [MAKE-ARGUMENT...]: builds a copy of the driver in FOLDER, or the one there.
module() {
    local folder=$1 kdir=$2
    shift 2
    if [ ! -d "$folder" ]; then
        mkdir -p "$folder"
        cp -r "${sources[@]}" "$folder/"
    fi
    make -C "$kdir" M="$folder" -j"$(nproc)" "$@" modules >"$folder/log" 2>&1 || {
        cat "$folder/log" >&2
        die "the driver cannot be built against $kdir"
    }
}

lane_build() {
    local series kernel
    need sparse sparse
    for series in 6.1 6.12; do
        kernel=$("$vm/kernel.sh" "$series")
        module "$work/build-$series" "$kernel/build" W=1 C=2
        if grep -E 'warning|error' "$work/build-$series/log" >&2; then
            die "Linux $series: the compiler or sparse has something to say"
        fi
        say "build: clean against Linux $(cat "$kernel/release")"
    done
}

test_program() {
    [ -x "$work/vcuda-driver-test" ] || gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror \
        -static -pthread -I"$here/include/uapi" -o "$work/vcuda-driver-test" "$here"/tests/*.c
    (cd "$repository" && cargo build --quiet -p vcuda-test-device)
    program=$(cd "$repository" && cargo metadata --format-version 1 --no-deps |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/vcuda-test-device
}

# guest VARIANT|SERIES MODULE-FOLDER: what boots it, once.
guest() {
    local kernel
    case $1 in
        6.*) kernel=$("$vm/kernel.sh" "$1") && module "$2" "$kernel/build" ;;
        *) kernel=$("$vm/uml.sh" "$1") && module "$2" "$kernel/build" ARCH=um ;;
    esac
    "$vm/initramfs.sh" "$2/initramfs" --kernel "$kernel" --module "$2/vcuda.ko" \
        "$work/vcuda-driver-test"
}

# run VARIANT MODULE-FOLDER "DEVICE OPTION..." "BOOT OPTION..." COMMAND: boots the guest with a
# device of its own. Exit status: the guest's, or 1 if the device has found fault with the driver.
run() {
    local variant=$1 folder=$2 device_options=$3 boot_options=$4 status=0
    shift 4
    rm -f "$work/socket"
    # shellcheck disable=SC2086 # options are words
    "$program" --socket "$work/socket" $device_options 2>"$work/device.log" &
    device=$!
    for _ in $(seq 1200); do [ -S "$work/socket" ] && break; sleep 0.05; done
    # shellcheck disable=SC2086
    "$vm/boot.sh" "$variant" --initramfs "$folder/initramfs" --memory 256 \
        --socket "$work/socket" $boot_options -- sh -c "$1" >"$work/log" 2>&1 || status=$?
    if [ $status -eq 0 ]; then
        wait "$device" || status=1
    else
        kill -9 "$device" 2>/dev/null || true
        { wait "$device" || true; } 2>/dev/null
    fi
    device=""
    return $status
}

# expect NAME ...: what run takes; shows everything if it fails.
expect() {
    local name=$1 start=$SECONDS status=0
    shift
    run "$@" || status=$?
    if [ $status -ne 0 ]; then
        cat "$work/log" "$work/device.log" >&2
        die "$name failed with status $status"
    fi
    say "$name: ok, $((SECONDS - start)) s"
}

test=$work/vcuda-driver-test
limit="--parameters max_memory=24"

lane_fast() {
    test_program
    guest fast "$work/fast"
    expect "functional" uml "$work/fast" "" "$limit" "$test functional"
    grep ' us for' "$work/log" >&2 || true
    expect "functional, without indirect descriptors" uml "$work/fast" "--direct --queues 3" \
        "$limit" "$test functional"
    expect "detach" uml "$work/fast" "" "$limit" "$test detach"
    expect "stress and fuzz" uml "$work/fast" "" "$limit" \
        "$test stress $seconds && $test fuzz $seconds 1"
    expect "stress, without indirect descriptors" uml "$work/fast" "--direct --queues 3" "$limit" \
        "$test stress $seconds 6 4 2"
    orphaned
}

# The process behind the device dies. User-mode Linux itself warns of that.
orphaned() {
    local name="the end of the device" start=$SECONDS guest status=0
    rm -f "$work/socket"
    "$program" --socket "$work/socket" 2>"$work/device.log" &
    device=$!
    for _ in $(seq 1200); do [ -S "$work/socket" ] && break; sleep 0.05; done
    "$vm/boot.sh" uml --initramfs "$work/fast/initramfs" --memory 256 --socket "$work/socket" \
        --warnings-are-fine -- "$test" detach orphaned >"$work/log" 2>&1 &
    guest=$!
    for _ in $(seq 1200); do ! grep -q '^ready' "$work/log" || break; sleep 0.05; done
    kill -9 "$device"
    { wait "$device" || true; } 2>/dev/null
    device=""
    wait "$guest" || status=$?
    if [ $status -ne 0 ]; then
        cat "$work/log" >&2
        die "$name: status $status"
    fi
    say "$name: ok, $((SECONDS - start)) s"
}

# planted NAME REPORT FILE SED-SCRIPT "BOOT OPTION...": the driver with a bug in it must not pass.
planted() {
    local name=$1 report=$2 file=$3 script=$4 folder=$work/planted-$1 start=$SECONDS status=0
    mkdir -p "$folder"
    cp -r "${sources[@]}" "$folder/"
    sed -i "$script" "$folder/$file"
    ! cmp -s "$here/$file" "$folder/$file" || die "there is no place for the planted $name any more"
    guest debug "$folder"
    run uml-debug "$folder" "" "$limit $5" "$test functional info" || status=$?
    if [ $status -ne 126 ] || ! grep -q "$report" "$work/log"; then
        cat "$work/log" >&2
        die "a planted $name was not found: status $status"
    fi
    say "a planted $name is found, $((SECONDS - start)) s"
}

lane_debug() {
    test_program
    planted leak 'unreferenced object' vcuda_request.c 's/^\tkfree(req->payload);$//' --kmemleak
    planted use-after-free 'KASAN: use-after-free' vcuda_request.c \
        's/^\tkfree(req);$/\tkfree(req);\n\treq->result = 1;/' ""
    planted lock 'inconsistent lock state' vcuda_request.c '/^int vcuda_request_submit/,/^}/ {
        s/spin_lock_irqsave(&queue->lock, flags)/flags = 0; spin_lock(\&queue->lock)/
        s/spin_unlock_irqrestore(&queue->lock, flags)/spin_unlock(\&queue->lock); (void)flags/
        }' ""
    guest debug "$work/debug"
    expect "debug: all of it" uml-debug "$work/debug" "" "$limit --kmemleak --time 600" \
        "$test faults && $test functional && $test detach &&
         $test stress $seconds 5 4 3 && $test fuzz $seconds 2"
    expect "debug: without indirect descriptors" uml-debug "$work/debug" "--direct --queues 3" \
        "$limit --kmemleak" "$test faults && $test stress $seconds 5 4 4"
    expect "debug: a device that has no memory" uml-debug "$work/debug" "--refuse 7" \
        "$limit --kmemleak" "$test stress $seconds 5 4 5 hostile"
}

lane_hostile() {
    local seed
    test_program
    guest debug "$work/debug"
    for seed in $seeds; do
        # Children of killed programs may have the file open for a moment longer.
        expect "hostile device $seed" uml-debug "$work/debug" "--hostile $seed" \
            "--no-insert --kmemleak" "for round in 1 2 3 4 5 6; do
                insmod /vm/vcuda.ko timeout=1 max_memory=24 || exit 9
                $test stress 0.7 4 3 $seed\$round hostile || exit 8
                tries=0
                until rmmod vcuda 2>/dev/null; do
                    tries=\$((tries + 1))
                    [ \$tries -lt 600 ] || exit 7
                    usleep 100000
                done
            done"
    done
}

lane_qemu() {
    test_program
    guest 6.1 "$work/6.1"
    expect "stock QEMU, Linux 6.1" debian "$work/6.1" "" "$limit --cpus 2 --memory 512" \
        "$test functional && $test detach && $test stress $seconds 8 4 6"
    guest 6.12 "$work/6.12"
    expect "QEMU with the device, Linux 6.12" qemu "$work/6.12" "" \
        "$limit --cpus 2 --memory 512 --kernel 6.12" \
        "$test functional && $test detach && $test stress $seconds 8 4 7 && $test fuzz $seconds 3"
}

[ $# -gt 0 ] || set -- build fast debug hostile
for lane in "$@"; do
    case $lane in
        build | fast | debug | hostile | qemu) "lane_$lane" ;;
        *) die "there is no lane '$lane'; there are build, fast, debug, hostile and qemu" ;;
    esac
done
