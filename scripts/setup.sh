#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Makes sure that there is a Rust toolchain and a C compiler. To be sourced by the other scripts,
# from the repository's root. The CUDA compilers are tests/toolchain.sh's affair.

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
die() { echo "setup: $*" >&2; exit 1; }
. scripts/packages.sh

[ -r "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
command -v cc >/dev/null || install gcc libc6-dev || die "there is no C compiler, and it could not be installed"
if ! command -v cargo >/dev/null; then
    install rustup || die "cargo is missing, and the package rustup could not be installed"
    rustup default stable
fi
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
found=$(cargo --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -1)" != "$needed" ]; then
    die "Rust $needed or newer is needed and $found is installed; run \`rustup update stable\`."
fi
