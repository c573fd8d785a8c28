#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Fetches one of Debian's kernels for virtual machines with its headers, and prints the folder that holds them:
#
#     kernel=$(scripts/vm/kernel.sh 6.1)       # Debian 12's
#     kernel=$(scripts/vm/kernel.sh 6.12)      # from Debian 12's backports
#
#     $kernel/vmlinuz     the kernel
#     $kernel/modules     its modules for virtio and the network
#     $kernel/build       what modules are built against: make -C $kernel/build M=... modules
#     $kernel/release     what `uname -r` prints there
#
# Nothing is installed into the system. For the variables see common.sh.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$folder/common.sh"

series=${1:-6.1}
case $series in
    6.1) pattern='linux-image-6\.1\.0-[0-9]+-cloud-amd64' ;;
    6.12) pattern='linux-image-6\.12\.[0-9]+\+deb12(\.[0-9]+)?-cloud-amd64' ;;
    *) die "there is no kernel '$series'; there are 6.1 and 6.12" ;;
esac

fetch() {
    local image release base kbuild name lib
    image=$(newest_package "$pattern")
    release=${image#linux-image-}
    base=${release%-cloud-amd64}
    kbuild=$(apt-cache depends "linux-headers-$release" | sed -n 's/^ *Depends: \(linux-kbuild-.*\)/\1/p' | head -n 1)
    fetch_debs "$image" "linux-headers-$release" "linux-headers-$base-common" "$kbuild"
    for name in *.deb; do
        dpkg-deb -x "$name" root
    done
    rm ./*.deb
    mv "root/boot/vmlinuz-$release" vmlinuz
    for lib in root/lib root/usr/lib; do # older and newer packages differ
        if [ -d "$lib/modules/$release/kernel" ]; then mv "$lib/modules/$release" modules; fi
    done
    # What initramfs.sh takes from there; the others are 100 MB.
    find modules/kernel -name '*.ko*' ! -path '*/virtio/*' ! -name 'virtio_net.*' ! -name '*failover.*' -delete
    find modules \( -type l -o -type d -empty \) -delete
    # The headers find linux-kbuild as ../../lib, and name their common part by its absolute path.
    mkdir lib
    mv root/usr/src src
    mv root/usr/lib/linux-kbuild-* lib/
    sed -i 's#^include /usr/src/#include ../#' "src/linux-headers-$release/Makefile"
    # Only for type information in modules, which would need one tool more.
    rm -f "src/linux-headers-$release/vmlinux"
    ln -s "src/linux-headers-$release" build
    echo "$release" >release
    rm -rf root
}

destination=$cache/linux-$series-$(key "${BASH_SOURCE[0]}")
if [ ! -e "$destination/vmlinuz" ]; then
    lock "linux-$series"
fi
if [ ! -e "$destination/vmlinuz" ]; then
    need dpkg-deb dpkg make make gcc-12 gcc-12 /usr/lib/x86_64-linux-gnu/libelf.so.1 libelf1
    start_work "$destination"
    cd "$work"
    private_apt
    say "downloading Debian's kernel $series and its headers"
    logged fetch
    finish_work
fi
echo "$destination"
