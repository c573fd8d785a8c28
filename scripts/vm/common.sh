#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# What the scripts that build virtual machines share. To be sourced; sets `repository` and `cache`.
#
# Debian packages come from a private apt configuration in the cache: nothing is installed or upgraded, apt checks the
# signatures, and a package is unpacked where it is used. That needs no root, and any suite can be read beside the system's.
#
#     VCUDA_CACHE           where downloads and builds are kept (default: .cache in the repository)
#     VCUDA_DEBIAN_MIRROR   the Debian archive to use; the default is the one that this system's apt uses
#     JOBS                  compilers run at once (default: the number of processors)

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "${VCUDA_CACHE:-$repository/.cache}"
cache=$(cd "${VCUDA_CACHE:-$repository/.cache}" && pwd)
jobs=${JOBS:-$(nproc)}
program=$(basename "$0" .sh)

say() { echo "$program: $*" >&2; }
die() { say "$*"; exit 1; }
. "$repository/scripts/packages.sh"

# key FILE...: a short hash of what the files hold. The result of a script lies in a folder with that name, so that it is
# made again when the script or one of its inputs changes, and never otherwise.
key() { cat "$@" | sha256sum | cut -c1-12; }

# lock NAME: one run at a time; a second one waits, and then finds everything there.
lock() {
    exec 9>"$cache/$1.lock"
    flock 9
}

# start_work FOLDER: an empty folder $work, which finish_work moves to FOLDER whole: an interrupted run leaves nothing that
# a later one would take for finished. The caller holds a lock.
start_work() {
    result=$1
    work=$1.partial
    rm -rf "$work"
    mkdir -p "$work"
}
finish_work() {
    rm -rf "$result"
    mv "$work" "$result"
}

# logged COMMAND...: runs a function or command with its output in $work/log, of which only a failure shows the end.
logged() {
    # In the background: in the condition of an `if`, a failing command would not end the function.
    (set -e; "$@") >"$work/log" 2>&1 </dev/null &
    wait $! || { tail -n 30 "$work/log" >&2; die "$1 failed; the whole output is in $work/log"; }
    rm "$work/log"
}

# private_apt: from here on, apt-get means the private configuration.
private_apt() {
    local folder=$cache/apt mirror=${VCUDA_DEBIAN_MIRROR:-} keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -z "${APT_CONFIG:-}" ] || [ "$APT_CONFIG" != "$folder/apt.conf" ] || return 0
    need "$keyring" debian-archive-keyring
    if [ -z "$mirror" ]; then
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m1 '/debian/\?$') \
            || die "this system's apt has no Debian archive; please name one in VCUDA_DEBIAN_MIRROR"
    fi
    exec 8>"$cache/apt.lock"
    flock 8
    mkdir -p "$folder"/{lists,archives}/partial "$folder/sources.d"
    # The kernels, for which this release's compiler must do, and the sources of the newer QEMU.
    cat >"$folder/sources.d/debian.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: bookworm bookworm-updates bookworm-backports
Components: main
Architectures: amd64
Signed-By: $keyring

Types: deb-src
URIs: $mirror
Suites: trixie trixie-updates
Components: main
Signed-By: $keyring
SOURCES
    cat >"$folder/apt.conf" <<CONFIGURATION
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$folder/sources.d";
Dir::State::Lists "$folder/lists";
Dir::Cache "$folder";
APT::Sandbox::User "root";
Acquire::Languages "none";
CONFIGURATION
    export APT_CONFIG=$folder/apt.conf
    if [ -z "$(find "$folder/updated" -mmin -360 2>/dev/null)" ]; then
        refresh_apt
    fi
    flock -u 8
}
refresh_apt() {
    say "reading Debian's package lists (about 45 MB)"
    apt-get update -qq >&2 || die "Debian's package lists could not be read; is there a network connection?"
    touch "$cache/apt/updated"
}

# fetch_debs PACKAGE...: downloads packages to the current folder. A version that the lists name can be gone from the
# mirror: then the lists are read again.
fetch_debs() {
    apt-get download -qq "$@" >&2 || { refresh_apt && apt-get download -qq "$@" >&2; } \
        || die "the Debian packages $* could not be downloaded"
}

# newest_package PATTERN: the newest package whose name matches the (extended, whole) regular expression.
newest_package() { apt-cache pkgnames | grep -Ex "$1" | sort -V | tail -1; }
