#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Makes sure that there is a Rust toolchain and a C compiler. To be sourced by the other scripts,
# from the repository's root. The CUDA compilers are tests/toolchain.sh's affair.

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
    if ! command -v apt-get >/dev/null; then
        echo "setup: please install: $* (this system has no apt-get, so it cannot be done for you)" >&2
        exit 1
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" \
        || { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }
}

[ -r "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
command -v cc >/dev/null || apt_install gcc libc6-dev
if ! command -v cargo >/dev/null; then
    apt_install rustup
    rustup default stable
fi
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
found=$(cargo --version | cut -d' ' -f2)
if [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -1)" != "$needed" ]; then
    echo "setup: Rust $needed or newer is needed and $found is installed; run \`rustup update stable\`." >&2
    exit 1
fi
