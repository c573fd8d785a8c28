#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Installs packages of Debian or Ubuntu that are missing. To be sourced by scripts that define `say` and `die`.

# install PACKAGE...: one apt-get call, as root or through sudo. Fails when they cannot be installed.
install() {
    command -v apt-get >/dev/null || die "please install: $* (this system has no apt-get, so it cannot be done for you)"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "please install as root: apt-get install $*"
        as_root=(sudo)
    fi
    say "installing $*"
    # The system's configuration, whatever the caller uses; and a second script waits for the first one's apt-get.
    local apt=("${as_root[@]}" env -u APT_CONFIG DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600)
    "${apt[@]}" install -y --no-install-recommends "$@" >&2 \
        || { "${apt[@]}" update >&2 && "${apt[@]}" install -y --no-install-recommends "$@" >&2; }
}

# need COMMAND_OR_FILE PACKAGE ...: in pairs; the packages of those that are missing are installed together.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        [ -e "$1" ] || command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -eq 0 ] || install "${missing[@]}" || die "these packages could not be installed: ${missing[*]}"
}
