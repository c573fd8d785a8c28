#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Boots a guest, runs a command in it, and ends with the command's exit status:
#
#     scripts/vm/boot.sh uml       --initramfs FILE [OPTION...] -- COMMAND...    # User-mode Linux
#     scripts/vm/boot.sh uml-debug --initramfs FILE ...     # with KASAN, lockdep, kmemleak, fault injection
#     scripts/vm/boot.sh debian    --initramfs FILE ...     # Debian's kernel and Debian's QEMU; a stand-in device
#     scripts/vm/boot.sh qemu      --initramfs FILE ...     # Debian's kernel and the QEMU of qemu-patch/
#
#     --socket PATH          the vhost-user socket of `vcuda serve`; without it, the guest has no vcuda device
#     --kernel 6.1|6.12      which of Debian's kernels (default: 6.1); must be the one that the initramfs was made for
#     --share FOLDER         (User-mode Linux) the guest sees this folder of the host, read-only, under the same path
#     --parameters "A=B ..." module parameters of vcuda.ko
#     --no-insert            the command inserts /vm/vcuda.ko itself
#     --queues N             (QEMU) queues of the device (default: 4)
#     --memory MIB           (default: 512)
#     --cpus N               (QEMU; default: 1)
#     --kvm                  (QEMU) with the processor's help; otherwise QEMU interprets
#     --network              (debian) a virtio-net device; the host's loopback interface is 10.0.2.2
#     --time SECONDS         limit for all of it (default: 400)
#     --kmemleak             (uml-debug) look for leaks after the command
#     --warnings-are-fine    do not fail when the kernel complains
#     --append "WORD ..."    for the kernel's command line
#
# The command's output is this script's output; the kernel's messages go to the error output. Exit status: the command's;
# 124 when the time was up; 125 when the guest ended in another way, or could not be started; 126 when the kernel
# reported an error (a sanitizer's or lockdep's report, a leak, a warning), which it does not leave to the command to notice.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$folder/common.sh"
die() { say "$*"; exit 125; }

[ $# -ge 1 ] || die "usage: boot.sh uml|uml-debug|debian|qemu --initramfs FILE [OPTION...] -- COMMAND..."
kind=$1
shift
initramfs="" socket="" series=6.1 shares=() parameters="" insert=1 queues=4 memory=512 cpus=1 kvm="" network="" limit=400 kmemleak=""
strict=1 append=""
while [ $# -gt 0 ]; do
    case $1 in
        --initramfs) initramfs=$2 && shift ;;
        --socket) socket=$2 && shift ;;
        --kernel) series=$2 && shift ;;
        --share) shares+=("$(realpath -s "$2")") && shift ;;
        --parameters) parameters=$2 && shift ;;
        --no-insert) insert="" ;;
        --queues) queues=$2 && shift ;;
        --memory) memory=$2 && shift ;;
        --cpus) cpus=$2 && shift ;;
        --kvm) kvm=1 ;;
        --network) network=1 ;;
        --time) limit=$2 && shift ;;
        --kmemleak) kmemleak=1 ;;
        --warnings-are-fine) strict="" ;;
        --append) append=$2 && shift ;;
        --) shift && break ;;
        *) die "there is no option '$1'" ;;
    esac
    shift
done
[ -r "$initramfs" ] || die "--initramfs names no file that can be read"
[ $# -ge 1 ] || die "the command is missing"
[ -z "$socket" ] || [ -S "$socket" ] || die "$socket is no socket"
need cpio cpio

runtime=$(mktemp -d)
trap 'rm -rf "$runtime"' EXIT

# The kernel unpacks a second archive behind the first one: it brings what differs from one boot to the next.
settings() { # NAME=VALUE for init, quoted for its shell
    local name
    for name in "$@"; do
        printf "%s='%s'\n" "${name%%=*}" "${name#*=}"
    done
}
initrd() { # SETTING...
    mkdir -p "$runtime/overlay/vm"
    settings "shares=${shares[*]}" "module_parameters=$parameters" "insert=$insert" "kmemleak=$kmemleak" \
        "network=$network" "$@" >"$runtime/overlay/vm/settings"
    printf '%q ' "${command[@]}" >"$runtime/overlay/vm/command"
    { cat "$initramfs" && cd "$runtime/overlay" && find vm | cpio --quiet -o -H newc -R 0:0 | gzip -1; } >"$runtime/initrd"
}

# limited COMMAND...: runs the guest. Its standard output is the kernel's console, and its descriptor 3 what the command in
# the guest writes.
limited() {
    local readers=()
    mkfifo "$runtime"/{messages,output}
    # Not the file itself: User-mode Linux asks for something that it can poll.
    tr -d '\r' <"$runtime/messages" | tee "$runtime/console" >&2 &
    readers+=($!)
    cat <"$runtime/output" &
    readers+=($!)
    exited=0
    timeout --kill-after=5 "$limit" "$@" </dev/null >"$runtime/messages" 3>"$runtime/output" &
    guest=$!
    # `timeout` has a process group of its own, and passes a signal on to all of it.
    trap 'kill "$guest" 2>/dev/null; wait "$guest" || true; exit 130' INT TERM HUP
    wait "$guest" || exited=$?
    wait "${readers[@]}"
}

boot_uml() { # VARIANT
    local kernel
    kernel=$("$folder/uml.sh" "$1")
    initrd "console=/dev/tty1"
    local arguments=("mem=${memory}M" "initrd=$runtime/initrd" con=null con0=null,fd:1 con1=null,fd:3 panic=-1 loglevel=5 "$append")
    [ -z "$socket" ] || arguments+=("virtio_uml.device=$socket:56")
    local memory_folder=/dev/shm
    [ -d "$memory_folder" ] || memory_folder=$runtime
    TMPDIR=$memory_folder limited "$kernel/linux" "${arguments[@]}"
}

boot_qemu() { # QEMU... : the program and what tells it where its firmware is
    local kernel device=() accelerator=(-accel tcg)
    kernel=$("$folder/kernel.sh" "$series")
    initrd "console=/dev/ttyS1"
    [ -z "$kvm" ] || accelerator=(-accel kvm)
    [ -z "$socket" ] || device+=(-chardev "socket,id=vcuda,path=$socket$reconnect" -device "$device_model,chardev=vcuda")
    [ -z "$network" ] || device+=(-netdev user,id=net -device virtio-net-pci,netdev=net,romfile=)
    # When it interprets, QEMU 7.2 sometimes loses the flags of cmpxchg16b, of which the allocator of Linux 6.12 dies.
    limited "$@" -M q35 "${accelerator[@]}" -cpu max,-cx16 -smp "$cpus" -m "$memory" \
        -object "memory-backend-memfd,id=memory,size=${memory}M,share=on" -numa node,memdev=memory \
        -kernel "$kernel/vmlinuz" -initrd "$runtime/initrd" -append "console=ttyS0 panic=-1 loglevel=5 $append" \
        -nodefaults -no-user-config -display none -no-reboot "${device[@]}" \
        -serial stdio -chardev file,id=output,path=/dev/fd/3 -serial chardev:output
}

# complaints: what the kernel reports of itself; fails when there is nothing.
complaints() {
    grep -E 'BUG:|WARNING:|Oops|Kernel panic|general protection|INFO: task .* blocked|INFO: suspicious|unreferenced object' \
        "$runtime/console"
}

command=("$@")
case $kind in
    uml) boot_uml fast ;;
    uml-debug) boot_uml debug ;;
    debian)
        # Of the virtio-fs device, only the queues are used: see the driver's parameter altid.
        device_model=vhost-user-fs-pci,tag=vcuda,num-request-queues=$((queues - 1)),queue-size=1024
        parameters="altid=26 $parameters"
        reconnect=""
        need qemu-system-x86_64 qemu-system-x86
        boot_qemu qemu-system-x86_64
        ;;
    qemu)
        device_model=vhost-user-vcuda-pci,num-queues=$queues
        reconnect=,reconnect-ms=200
        patched=$("$repository/qemu-patch/build.sh")
        boot_qemu "$patched/qemu-system-x86_64" -L "$patched"
        ;;
    *) die "there is no guest '$kind'; there are uml, uml-debug, debian and qemu" ;;
esac

case $exited in
    124 | 137) say "the time limit of $limit s was reached" && exit 124 ;;
esac
status=$(sed -n 's/^VM-EXIT: \([0-9]\{1,3\}\)$/\1/p' "$runtime/console" | tail -n 1)
[ -n "$status" ] || die "the guest ended without the command's exit status (its own: $exited)"
if [ -n "$strict" ] && complaints >&2; then
    say "the guest's kernel reported the above"
    exit 126
fi
exit "$status"
