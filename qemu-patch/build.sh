#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds a small static QEMU 10.0 with the patches of this folder, and prints the folder that holds it:
#
#     qemu=$(qemu-patch/build.sh)      # the first time: 40 MB to download, about five minutes of one processor
#     $qemu/qemu-system-x86_64 -L $qemu -M q35 -device vhost-user-vcuda-pci,... ...
#
# The sources are Debian 13's, checked by apt's signatures. The result stands on its own: it can be copied to any x86-64
# Linux. The folder's name carries a hash of the patches and of this script. For the variables see scripts/vm/common.sh.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$folder/../scripts/vm/common.sh"
program=qemu-patch

series=10.0
# meson must be newer than Debian 12's.
tools=(meson==1.8.3 ninja==1.11.1.4 setuptools==80.9.0 wheel==0.45.1 tomli==2.2.1)

fetch_sources() {
    local version
    version=$(apt-cache showsrc qemu | sed -n 's/^Version: //p' | grep -E "^1:$series\." | sort -V | tail -n 1)
    [ -n "$version" ] || { echo "the Debian archive has no QEMU $series any more"; return 1; }
    echo "$version" >version
    # To look at the signature once more, dpkg-source would need the keys of Debian's developers; apt has checked the sums.
    apt-get source -qq --download-only "qemu=$version"
    dpkg-source --no-check -x qemu_*.dsc source
    rm qemu_*
    fetch_debs seabios qemu-system-data
    for package in *.deb; do
        dpkg-deb -x "$package" firmware
    done
    rm ./*.deb
}

apply_patches() {
    local patch
    # All of them first, so that a source that they do not fit is recognised before anything is changed.
    cp -r source probe
    for patch in "$folder"/*.patch; do
        patch -d probe -p1 --dry-run <"$patch"
        patch -d probe -p1 --silent <"$patch"
    done
    rm -rf source
    mv probe source
}

compile() {
    python3 -m venv venv
    venv/bin/python3 -m pip install --quiet --disable-pip-version-check "${tools[@]}"
    mkdir build
    cd build
    PATH=$work/venv/bin:$PATH
    ../source/configure --python="$work/venv/bin/python3" --target-list=x86_64-softmmu --static --enable-strip \
        --without-default-features --without-default-devices --with-devices-x86_64=vcuda \
        --enable-system --enable-tcg --enable-kvm --enable-vhost-user \
        --disable-fdt --disable-install-blobs --audio-drv-list=
    ninja -j"$jobs" qemu-system-x86_64
    cd ..
    strip -o qemu-system-x86_64 build/qemu-system-x86_64
    cp firmware/usr/share/seabios/bios-256k.bin firmware/usr/share/qemu/{kvmvapic,linuxboot_dma}.bin .
    ./qemu-system-x86_64 -L . -device help | grep vhost-user-vcuda-pci
    rm -rf source build venv firmware
}

build() {
    fetch_sources
    apply_patches
    compile
}

destination=$cache/qemu-$series-$(key "${BASH_SOURCE[0]}" "$folder"/*.patch)
if [ ! -x "$destination/qemu-system-x86_64" ]; then
    lock qemu
fi
if [ ! -x "$destination/qemu-system-x86_64" ]; then
    libraries=/usr/lib/x86_64-linux-gnu
    need gcc gcc make make patch patch pkg-config pkg-config flex flex bison bison python3 python3 dpkg-source dpkg-dev \
        "$libraries/libglib-2.0.a" libglib2.0-dev "$libraries/libz.a" zlib1g-dev
    python3 -c 'import ensurepip, venv' 2>/dev/null || install python3-venv
    start_work "$destination"
    cd "$work"
    private_apt
    say "building QEMU $series (several minutes)"
    logged build
    finish_work
fi
echo "$destination"
