#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds a User-mode Linux kernel, and prints the folder that holds it:
#
#     kernel=$(scripts/vm/uml.sh fast)      # boots in 0.2 s; about a minute of compiling
#     kernel=$(scripts/vm/uml.sh debug)     # with KASAN, lockdep, kmemleak, fault injection; about five minutes
#
#     $kernel/linux       the kernel: an ordinary program
#     $kernel/build       what modules are built against: make -C $kernel/build ARCH=um M=... modules
#     $kernel/version     the Debian version of the sources
#
# boot.sh starts it. For the variables see common.sh.
set -euo pipefail
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$folder/common.sh"

variant=${1:-fast}
case $variant in
    fast) fragments=("$folder/uml-fast.config") ;;
    debug) fragments=("$folder/uml-fast.config" "$folder/uml-debug.config") ;;
    *) die "there is no variant '$variant'; there are fast and debug" ;;
esac

# fetch_sources: to build/.
fetch_sources() {
    say "downloading the kernel's sources (138 MB)"
    fetch_debs linux-source-6.1
    dpkg-deb --fsys-tarfile linux-source-6.1_*.deb | tar -xf - --wildcards './usr/src/linux-source-6.1.tar.xz'
    dpkg-deb -f linux-source-6.1_*.deb Version >version
    rm linux-source-6.1_*.deb
    say "unpacking them"
    mkdir build
    # Of what is not built, only the Kconfig files and makefiles matter.
    local left_out=('*/Documentation/*/*' '*/sound/*.[ch]' '*/tools/testing/*' '*/samples/*.[ch]') name
    for name in alpha arc arm arm64 csky hexagon ia64 loongarch m68k microblaze mips nios2 openrisc parisc powerpc riscv s390 \
        sh sparc xtensa; do
        left_out+=("*/arch/$name/*.[chS]" "*/arch/$name/*.dts*")
    done
    for name in clk comedi crypto gpu hwmon iio infiniband isdn media mtd net/ethernet net/wireless pinctrl scsi staging target; do
        left_out+=("*/drivers/$name/*.[ch]")
    done
    tar -C build --strip-components=1 "${left_out[@]/#/--exclude=}" -xf usr/src/linux-source-6.1.tar.xz
    rm -rf usr
}

# mend SOURCE: places in which User-mode Linux 6.1 does not fit.
mend() {
    # It announces the vhost-user memory table with the size of all regions that one could hold, and sends fewer; rust-vmm
    # refuses such a message, as the specification has it.
    mend_line "$1/arch/um/drivers/virtio_uml.c" vhost_user_set_mem_table \
        's/\.header\.size = sizeof(msg\.payload\.mem_regions)/.header.size = offsetof(struct vhost_user_mem_regions, regions[1])/'
    # The registers of a process are kept in a buffer of 2.5 KiB; a processor with AMX has 11 KiB of them.
    mend_line "$1/arch/x86/um/user-offsets.c" HOST_FP_SIZE \
        's/DEFINE_LONGS(HOST_FP_SIZE, .*/DEFINE_LONGS(HOST_FP_SIZE, 11264);/'
    # It goes through a process's areas without protection, which lockdep reports at the first fork. The scheduler holds its
    # lock there, so that only a lock that nothing waits for will do.
    mend_line "$1/arch/um/kernel/tlb.c" 'void force_flush_all' \
        's/^\tfor_each_vma/\trcu_read_lock();\n&/; s/^\t\tfix_range.*;$/&\n\trcu_read_unlock();/'
}

mend_line() { # FILE TEXT SED: in the lines from the text to the end of its function
    local before
    before=$(cksum "$1")
    sed -i "/$2/,/^}/ { $3; }" "$1"
    [ "$(cksum "$1")" != "$before" ] || die "$1 is not as this script expects it; nothing was changed at '$2'"
}

# prune TREE: leaves of a built kernel tree what building a module needs.
prune() {
    local kept
    (
        cd "$1"
        for kept in *; do
            case $kept in
                Makefile | Kbuild | Module.symvers | scripts | include | arch) ;;
                *) rm -rf "$kept" ;;
            esac
        done
        find arch -mindepth 1 -maxdepth 1 ! -name um ! -name x86 -exec rm -rf {} +
        find arch scripts \( -name '*.o' -o -name '*.a' -o -name '*.cmd' -o -name '*.c' -o -name '*.S' -o -name '*.dts*' \) -delete
        find arch/x86 -mindepth 1 -maxdepth 1 ! -name include ! -name um ! -name 'Makefile*' -exec rm -rf {} +
        rm -rf scripts/{dtc,kconfig,gcc-plugins,coccinelle,kernel-doc,package,selinux}
    )
}

compile() {
    export ARCH=um KBUILD_BUILD_USER=vcuda KBUILD_BUILD_HOST=vcuda
    unset MAKEFLAGS
    make -C build KCONFIG_ALLCONFIG="$work/fragment.config" allnoconfig
    # An option that was asked for and is not there has another name, or lacks what it depends on.
    if grep -E '^CONFIG_.*=[^n]' fragment.config | grep -vxFf build/.config; then
        echo "the kernel's configuration lacks these"
        return 1
    fi
    make -C build -j"$jobs" linux modules
}

destination=$cache/uml-6.1-$variant-$(key "${BASH_SOURCE[0]}" "${fragments[@]}")
if [ ! -x "$destination/linux" ]; then
    lock "uml-$variant"
fi
if [ ! -x "$destination/linux" ]; then
    need gcc gcc make make bc bc flex flex bison bison xz xz-utils dpkg-deb dpkg
    start_work "$destination"
    cd "$work"
    private_apt
    fetch_sources
    mend build
    cat "${fragments[@]}" >fragment.config
    say "compiling User-mode Linux ($variant)"
    logged compile
    strip -g -o linux build/linux
    cp build/.config config
    prune build
    rm fragment.config
    finish_work
fi
echo "$destination"
