#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Takes the results that ptx/tests/golden/results.bin holds from a GPU.
#
#   scripts/goldens.sh prepare DIR    here: the program and its kernels, assembled for sm_90, go to DIR
#   DIR/run.sh OUT                    on a machine with a GPU of compute capability 9.0: all results go
#                                     to the folder OUT
#   scripts/goldens.sh store OUT      here again: what the tests compare with
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${CARGO_TARGET_DIR:-target}
program=$target/debug/examples/goldens

case ${1:-} in
prepare)
    dir=$2
    cargo build -q -p vcuda-ptx --example goldens
    mkdir -p "$dir"
    rm -f "$dir"/*.ptx "$dir"/*.cubin
    cp "$program" "$dir/goldens"
    "$program" ptx "$dir"
    eval "$(tests/toolchain.sh)"
    for module in "$dir"/*.ptx; do
        "$CUDA_ROOT/bin/ptxas" -arch=sm_90 -o "${module%.ptx}.cubin" "$module"
    done
    cat >"$dir/run.sh" <<'END'
#!/bin/sh
set -eu
here=$(dirname "$0")
"$here/goldens" run "$here" "$1/all.bin"
gzip -f "$1/all.bin"
END
    chmod +x "$dir/run.sh"
    ;;
store)
    all=$(mktemp)
    trap 'rm -f "$all"' EXIT
    gzip -dc "$2/all.bin.gz" >"$all"
    cargo run -q -p vcuda-ptx --example goldens pack "$all" ptx/tests/golden/results.bin
    ;;
*)
    sed -n '3,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
