#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Passes all tests on a machine without a GPU. Installs what it needs; what is slow to make is made
# once, into .cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup.sh

say "Formatting and lints"
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings

say "Compiling the CUDA programs"
tests/build.sh >/dev/null

say "Tests"
cargo test --workspace --locked

say "The fuzz targets build, and each runs for a few seconds"
scripts/fuzz.sh 3
