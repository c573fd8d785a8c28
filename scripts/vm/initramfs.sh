#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Makes the initial file system of a test guest (see init and boot.sh):
#
#     scripts/vm/initramfs.sh OUT [--kernel FOLDER] [--module vcuda.ko] [PATH...]
#
#     --kernel FOLDER    a folder of kernel.sh or uml.sh; its virtio modules are inserted when the guest starts
#     --module FILE      becomes /vm/vcuda.ko, inserted after those
#     PATH               a file or folder, which has the same absolute path in the guest. Programs bring their libraries,
#                        as ldd finds them here (LD_LIBRARY_PATH counts)
#
# Nothing of it needs root.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$folder/common.sh"

# Inserted in this order, those that are modules in the given kernel.
virtio_modules=(drivers/virtio/virtio.ko drivers/virtio/virtio_ring.ko drivers/virtio/virtio_pci_legacy_dev.ko
    drivers/virtio/virtio_pci_modern_dev.ko drivers/virtio/virtio_pci.ko)
network_modules=(net/core/failover.ko drivers/net/net_failover.ko drivers/net/virtio_net.ko)

[ $# -ge 1 ] || die "usage: initramfs.sh OUT [--kernel FOLDER] [--module vcuda.ko] [PATH...]"
out=$1
shift
kernel="" module="" paths=()
while [ $# -gt 0 ]; do
    case $1 in
        --kernel) kernel=$2 && shift 2 ;;
        --module) module=$2 && shift 2 ;;
        -*) die "there is no option '$1'" ;;
        *) paths+=("$1") && shift ;;
    esac
done

# busybox: the static busybox of Debian's package, in the cache.
busybox() {
    local destination=$cache/busybox-1.35
    if [ ! -x "$destination/busybox" ]; then
        lock busybox
        if [ ! -x "$destination/busybox" ]; then
            start_work "$destination"
            (cd "$work" && private_apt && fetch_debs busybox-static && dpkg-deb -x busybox-static_*.deb root \
                && mv root/bin/busybox busybox && rm -r root busybox-static_*.deb)
            finish_work
        fi
        flock -u 9
    fi
    echo "$destination/busybox"
}

# add PATH: the file, or all files of the folder, at the same place in the guest; symbolic links are followed.
add() {
    mkdir -p "$stage$(dirname "$1")"
    cp -rL --preserve=mode "$1" "$stage$(dirname "$1")/"
}

# add_modules LIST MODULE...: the kernel's modules, and their names in /vm/modules/LIST in the order in which init inserts them.
add_modules() {
    local list=$stage/vm/modules/$1 name found
    shift
    : >"$list"
    for name in "$@"; do
        found=$(compgen -G "$kernel/modules/kernel/$name*" | head -n 1) || continue # built in, or no kernel given
        case $found in
            *.xz) xz -dc "$found" >"$stage/vm/modules/$(basename "$name")" ;;
            *) cp "$found" "$stage/vm/modules/" ;;
        esac
        basename "$name" >>"$list"
    done
}

# libraries FILE...: what the dynamic linker would load for them here, one path on each line.
libraries() {
    local file
    for file in "$@"; do
        # Not a program or library, or a static one, or one that lacks a library, which is for its user to provide.
        ldd "$file" 2>/dev/null | sed -n 's/^.* => \(\/[^ ]*\) (0x.*$/\1/p; s/^\t\(\/[^ ]*\) (0x.*$/\1/p' || true
    done | sort -u
}

need cpio cpio gzip gzip
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage"/{vm/{modules,bin},usr/{bin,sbin,lib,lib64},proc,sys,dev,tmp,run,root,etc}
ln -s usr/bin usr/sbin usr/lib usr/lib64 "$stage"
cp "$(busybox)" "$stage/vm/busybox"
cp "$folder/init" "$stage/init"
chmod 755 "$stage/init" "$stage/vm/busybox"
for applet in $("$stage/vm/busybox" --list); do
    ln -s ../busybox "$stage/vm/bin/$applet"
done
ln -s /vm/busybox "$stage/usr/bin/sh"
echo 'root:x:0:0:root:/root:/bin/sh' >"$stage/etc/passwd"
echo 'root:x:0:' >"$stage/etc/group"

add_modules virtio "${virtio_modules[@]}"
add_modules network "${network_modules[@]}"
[ -z "$module" ] || cp "$module" "$stage/vm/vcuda.ko"
for path in "${paths[@]}"; do
    [ -e "$path" ] || die "there is no '$path'"
    add "$(realpath -s "$path")"
done
mapfile -t files < <(find "${paths[@]}" /dev/null -type f 2>/dev/null)
for library in $(libraries "${files[@]}"); do
    [ -e "$stage$library" ] || add "$library"
done

(cd "$stage" && find . -print0 | sort -z | cpio --quiet --null --create --format=newc --owner=0:0 | gzip -1) >"$out.partial"
mv "$out.partial" "$out"
