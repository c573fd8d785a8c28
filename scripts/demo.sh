#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The whole story on a machine without a GPU: compiles CUDA programs with real compilers, analyzes,
# runs, records and replays them, and shows what happened. Installs what it needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh

show() { printf '\033[36m$ %s\033[0m\n' "$*"; "$@"; }

say "Building vcuda"
cargo build --release -p vcuda -p vcuda-cli
target=${CARGO_TARGET_DIR:-$PWD/target}/release
PATH=$target:$PATH

say "Compiling CUDA programs: nvcc 13.0, and the launch ABI of CUDA 9.0 by clang"
bin=$(tests/build.sh seed vector_add matmul_tiled streams_events)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "What vcuda finds on this machine"
show vcuda doctor

say "The seed program: linked with libcudart.so.9.0, which is not installed"
printf '\033[36m$ nm %s | grep libcudart\033[0m\n' "$bin/seed"
nm "$bin/seed" | grep libcudart
show vcuda analyze "$bin/seed"
show vcuda run "$bin/seed"

say "A tiled matrix multiplication by nvcc 13.0: analyzed, run, recorded"
show vcuda analyze "$bin/matmul_tiled"
show vcuda record -o "$work/matmul.vcuda" "$bin/matmul_tiled"

say "The recording: what is in it, and the same results again"
show vcuda trace info "$work/matmul.vcuda"
printf '\033[36m$ vcuda trace calls %s | head -20\033[0m\n' "$work/matmul.vcuda"
vcuda trace calls "$work/matmul.vcuda" | head -20
show vcuda replay "$work/matmul.vcuda"

say "By hand: LD_PRELOAD, and a folder of shims in the place of libcudart"
show vcuda shims "$work/shims"
show env LD_LIBRARY_PATH="$work/shims" LD_PRELOAD="$target/libvcuda.so" "$bin/streams_events"

say "Done. Try it with your own: vcuda analyze ./program && vcuda run ./program"
echo "(put $target on your PATH)"
