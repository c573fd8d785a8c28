#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The parts of gpu.sh that need a daemon or a virtual machine. To be sourced by it.
#
# What travels is a small copy of the repository with the cache that scripts/vm/boot.sh finds its kernels and QEMU in, and for
# each kind of guest an initial file system without what changes often; that is added when the guest is booted.

here=${here:?this is for gpu.sh}
work=${work:-}
chosen=()

# pack_guests FOLDER: in the repository's root.
pack_guests() {
    local to=$1 cache=${VCUDA_CACHE:-.cache} kernel kind staged
    mkdir -p "$to"/{bin,scripts/vm,qemu-patch}
    staged=$(mktemp -d)
    cp scripts/gpu_guests.sh "$to/"
    cp scripts/packages.sh "$to/scripts/"
    cp scripts/vm/* "$to/scripts/vm/"
    cp qemu-patch/*.patch qemu-patch/build.sh "$to/qemu-patch/"
    rm -rf "$to/shims"
    "$to/vcuda" shims "$to/shims" >/dev/null
    for kind in uml qemu; do
        case $kind in
            uml) kernel=$(scripts/vm/uml.sh fast) ;;
            qemu) kernel=$(scripts/vm/kernel.sh 6.1) ;;
        esac
        # The first brings the C library, the second those of C++, and neither is run.
        LD_LIBRARY_PATH=$to/shims scripts/vm/initramfs.sh "$to/$kind.guest" --kernel "$kernel" \
            --module "$(scripts/vm/module.sh "$kernel")" /bin/true "$to/programs/threads_streams"
        mkdir "$staged/$(basename "$kernel")"
        find "$kernel" -maxdepth 1 \( -name linux -o -name vmlinuz \) -exec cp {} "$staged/$(basename "$kernel")/" \;
    done
    cp -r "$(qemu-patch/build.sh)" "$staged/"
    tar -C "$staged" -czf "$to/cache.tar.gz" .
    rm -rf "$staged" "$to/.cache"
    # boot.sh needs cpio, which is not everywhere.
    cp "$cache/busybox-1.35/busybox" "$to/bin/cpio"
}

# serve SOCKET OPTION...: starts a daemon, and waits until it listens.
serve() {
    local socket=$1
    shift
    VCUDA_LOG=warn "$here/vcuda" serve "$@" --device "${DEVICE:-nvidia}" 2>>"$work/daemon" &
    daemon=$!
    for _ in $(seq 100); do
        [ ! -S "$socket" ] || return 0
        sleep 0.1
    done
    echo "vcuda serve does not listen: $(tail -n 3 "$work/daemon")"
    return 1
}
stop_serving() {
    kill "$daemon" 2>/dev/null
    wait "$daemon" 2>/dev/null
    # What it or its workers complained of.
    [ ! -s "$work/daemon" ] || { echo "the daemon's log ends with:" && tail -n 5 "$work/daemon" | cut -c1-300; }
    rm -f "$work/daemon"
}

served() {
    serve "$work/unix.sock" --unix "$work/unix.sock" || return
    VCUDA_TRANSPORT=unix:$work/unix.sock programs "vcuda serve --unix"
    stop_serving
}

# boot KIND OPTION... -- COMMAND...: a guest with all that is here, which sees the daemon's device.
boot() {
    local kind=$1
    shift
    [ -d "$here/.cache" ] || { mkdir "$here/.cache" && tar -C "$here/.cache" -xzf "$here/cache.tar.gz"; }
    if [ ! -e "$work/$kind.initramfs" ]; then
        {
            cat "$here/$kind.guest"
            (cd "$here" && find programs shims libvcuda.so callbench idle | PATH=$PATH:$here/bin cpio --quiet -o -H newc -R 0:0) 2>/dev/null | gzip -1
        } >"$work/$kind.initramfs"
    fi
    PATH=$PATH:$here/bin timeout -k 5 "${LIMIT:-240}" "$here/scripts/vm/boot.sh" "$kind" --initramfs "$work/$kind.initramfs" \
        --socket "$work/vm.sock" --time "${LIMIT:-240}" "$@" 2>"$work/console"
}
in_guest='export LD_PRELOAD=/libvcuda.so LD_LIBRARY_PATH=/shims; cd /tmp;'
guest_memory=2048

# in_guest_of KIND WHAT: the programs in a guest, and their output beside the native one.
in_guest_of() {
    local kind=$1 what=$2
    serve "$work/vm.sock" --vhost-user "$work/vm.sock" || return
    # shellcheck disable=SC2016
    boot "$kind" --memory "$guest_memory" -- sh -c "$in_guest"'
        for name; do
            read -r start _ </proc/uptime
            timeout 60 "/programs/$name" 2>stderr </dev/null >stdout; status=$?
            read -r end _ </proc/uptime
            echo "== $name $start $end"
            cat stdout
            echo "ends with $status"
            sed "s/^/!! /" stderr | tail -n 2
        done' sh "${chosen[@]}" >"$work/guest.out" || echo "the guest ended with $?: $(tail -n 3 "$work/console")"
    stop_serving
    awk -v to="$work/guest." '/^== / { file = to $2 ".out"; printf "" >file; print $4 - $3 >(to $2 ".time"); next }
        /^!! / { print substr($0, 4) >(file ".stderr"); next } { print >file }' "$work/guest.out"
    say "Programs, natively and $what: seconds, and whether what they print is the same"
    compare "in the guest" guest_ran
}
guest_ran() {
    mv "$work/guest.$1.out" "$work/ours" 2>/dev/null || echo "did not run" >"$work/ours"
    mv "$work/guest.$1.out.stderr" "$work/stderr" 2>/dev/null || : >"$work/stderr"
    # shellcheck disable=SC2034 # compare prints it
    seconds=$(cat "$work/guest.$1.time" 2>/dev/null || echo 0)
    rm -f "$work/guest.$1."*
}

vm() { in_guest_of qemu "in a virtual machine (QEMU, interpreted)"; }
guest() { in_guest_of uml "in a User-mode Linux guest"; }

guest_calls() {
    say "What calls cost: natively, under vcuda (ratio), in a User-mode Linux guest through /dev/vcuda (ratio); three rounds"
    serve "$work/vm.sock" --vhost-user "$work/vm.sock" || return
    for _ in 1 2 3; do
        sleep 2
        natively "$here/callbench" "${DIVISOR:-1}" >"$work/native"
        sleep 2
        remoted run "$here/callbench" "${DIVISOR:-1}" >"$work/ours"
        sleep 2
        boot uml --memory "$guest_memory" -- sh -c "$in_guest /callbench ${DIVISOR:-1}" >"$work/guest.out" \
            || echo "the guest ended with $?: $(tail -n 3 "$work/console")"
        beside "$work/native" "$work/ours" "$work/guest.out"
        echo
    done
    stop_serving
}

guest_idle() {
    local part booted before
    say "CPU time of an idle guest: clock ticks (1/100 s) in 5 s, without and with a program that has used the GPU"
    for part in "sleep 30" /idle; do
        serve "$work/vm.sock" --vhost-user "$work/vm.sock" || return
        boot uml --memory 512 -- sh -c "$in_guest $part" &
        booted=$!
        sleep 5
        before=$(ticks)
        sleep 5
        echo "$part, before: $before after: $(ticks)"
        # The guest first: boot.sh ends with it.
        pgrep -f "^$here/.cache/uml" | xargs -r kill -9
        wait "$booted"
        stop_serving
    done 2>/dev/null
}
ticks() {
    local pid
    for pid in $daemon $(pgrep -f "vcuda worker"); do
        awk -v what=host '{ printf "%s %d ", what, $14 + $15 }' "/proc/$pid/stat"
    done
    for pid in $(pgrep -f "^$here/.cache/uml"); do
        awk '{ sum += $14 + $15 } END { printf "guest %d ", sum }' "/proc/$pid/stat"
    done
}
