#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds the guest's driver against a kernel, and prints the module's path:
#
#     module=$(scripts/vm/module.sh FOLDER)      # a folder of kernel.sh or uml.sh
#
# The result lies in the cache, under a name made of the driver's sources and the kernel.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$folder/common.sh"

[ $# = 1 ] || die "usage: module.sh FOLDER"
kernel=$(realpath "$1")
sources=$repository/guest-driver-c
mapfile -t inputs < <(find "$sources" -maxdepth 1 -type f | sort; find "$sources/include" -type f | sort)
destination=$cache/modules/$(basename "$kernel")-$(key "${BASH_SOURCE[0]}" "${inputs[@]}")
compile() {
    local arguments=()
    [ ! -x "$kernel/linux" ] || arguments=(ARCH=um)
    make -C "$kernel/build" "${arguments[@]}" M="$work/driver" modules
}
if [ ! -e "$destination/vcuda.ko" ]; then
    need gcc gcc make make
    mkdir -p "$cache/modules"
    lock modules
    start_work "$destination"
    cp -r "$sources" "$work/driver"
    logged compile
    mv "$work/driver/vcuda.ko" "$work/"
    rm -r "$work/driver"
    finish_work
fi
echo "$destination/vcuda.ko"
