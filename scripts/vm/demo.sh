#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# A CUDA program in a virtual machine that has neither GPU nor NVIDIA driver: builds vcuda and the guest's driver, boots a
# throwaway guest (Debian's kernel under Debian's QEMU, interpreted, with a stand-in device), and shows what the program
# prints there, and what was recorded on the host. Installs what it needs; nothing is left behind but the cache.
#
#     scripts/vm/demo.sh [uml|debian|qemu]      (default: debian; see boot.sh)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/setup.sh
kind=${1:-debian}

say "Building vcuda, and compiling CUDA programs"
cargo build --release -p vcuda -p vcuda-cli
target=$(realpath "${CARGO_TARGET_DIR:-target}")/release
programs=$(tests/build.sh seed matmul_tiled)

say "A guest: kernel, driver, library, programs"
case $kind in
    uml) kernel=$(scripts/vm/uml.sh fast) ;;
    *) kernel=$(scripts/vm/kernel.sh 6.1) ;;
esac
work=$(mktemp -d)
daemon=""
end() {
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
"$target/vcuda" shims "$work/shims" >/dev/null
LD_LIBRARY_PATH=$work/shims scripts/vm/initramfs.sh "$work/initramfs" --kernel "$kernel" \
    --module "$(scripts/vm/module.sh "$kernel")" "$target/libvcuda.so" "$target/vcuda" "$work/shims" \
    "$programs/seed" "$programs/matmul_tiled"

say "The host's side: vcuda serve --vhost-user $work/vcuda.sock --record $work/recordings"
"$target/vcuda" serve --vhost-user "$work/vcuda.sock" --record "$work/recordings" &
daemon=$!
while [ ! -S "$work/vcuda.sock" ]; do sleep 0.1; done

say "The guest's side"
cat >"$work/script" <<END
show() { printf '\033[36mguest# %s\033[0m\n' "\$*"; "\$@"; }
export LD_LIBRARY_PATH=$work/shims
show uname -srm
show ls /dev/nvidiactl
show ls -l /dev/vcuda
show env LD_PRELOAD=$target/libvcuda.so $programs/seed
show env LD_PRELOAD=$target/libvcuda.so $programs/matmul_tiled
show $target/vcuda doctor
END
scripts/vm/boot.sh "$kind" --initramfs "$work/initramfs" --socket "$work/vcuda.sock" --memory 768 \
    -- sh -c "$(cat "$work/script")" 2>"$work/console" || { tail -n 30 "$work/console" >&2; die "the guest failed"; }

say "On the host again: what the programs did, recorded without their help, and replayed"
kill "$daemon" && wait "$daemon" || true
daemon=""
for trace in "$work"/recordings/*; do
    "$target/vcuda" replay "$trace"
done
