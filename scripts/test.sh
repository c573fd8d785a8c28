#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Passes all tests on a machine without a GPU. Installs what it needs; what is slow to make is made
# once, into .cache. With VCUDA_TEST_ALL=1 also those with the patched QEMU, which is built then.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh

say "Formatting and lints"
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings

say "Compiling the CUDA programs"
tests/build.sh >/dev/null

say "Kernels for test guests (minutes where the cache has none)"
scripts/vm/uml.sh fast >/dev/null
scripts/vm/uml.sh debug >/dev/null
scripts/vm/kernel.sh 6.1 >/dev/null
scripts/vm/kernel.sh 6.12 >/dev/null
if [ -n "${VCUDA_TEST_ALL:-}" ]; then
    qemu-patch/build.sh >/dev/null
fi

say "Tests"
cargo test --workspace --locked

say "The guest's driver"
guest-driver-c/test.sh

say "The fuzz targets build, and each runs for a few seconds"
scripts/fuzz.sh 3
