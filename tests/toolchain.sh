#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Makes the compilers that the test programs need usable, and says where they are:
#
#     eval "$(tests/toolchain.sh)"      # sets CUDA_ROOT, NVCC, CLANG, TOOLCHAIN_KEY
#
# nvcc comes from NVIDIA's Python wheels, unpacked into a cache folder; neither a GPU, nor a driver, nor root is needed.
# Missing Debian or Ubuntu packages (g++, python3-venv, clang) are installed with apt-get, which does need root or sudo.
#
#     VCUDA_CACHE   where downloads and builds are kept (default: .cache in the repository)
#     CUDA_ROOT     use this CUDA 13 toolkit (the folder that holds bin/nvcc) in place of the wheels
#     CLANG         use this clang
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${VCUDA_CACHE:-$repository/.cache}

# All five must be of one release: an unpinned nvvm resolves to a newer one, whose PTX a CUDA 13.0 driver refuses.
wheels=(
    nvidia-cuda-nvcc==13.0.88
    nvidia-nvvm==13.0.88
    nvidia-cuda-crt==13.0.88
    nvidia-cuda-runtime==13.0.96
    nvidia-cuda-cccl==13.0.85
)

say() { echo "toolchain: $*" >&2; }
die() { say "$*"; exit 1; }

. "$repository/scripts/packages.sh"

# install_nvcc FOLDER: unpacks the wheels beside FOLDER and moves them there whole, so that an interrupted run leaves
# nothing that a later one would take for finished. The caller holds the lock.
install_nvcc() {
    local folder=$1 work=$1.partial
    rm -rf "$work"
    mkdir -p "$work"
    need python3 python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || install python3-venv \
        || die "python3 cannot make virtual environments, and the package python3-venv could not be installed"
    say "downloading nvcc 13.0 into $folder (about 100 MB)"
    python3 -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
        --target "$work/site" "${wheels[@]}" >&2 || die "the wheels could not be downloaded; is there a network connection?"
    # The wheels lack the link that the linker looks for, and nvcc.profile names lib64.
    ln -s libcudart.so.13 "$work/site/nvidia/cu13/lib/libcudart.so"
    ln -s lib "$work/site/nvidia/cu13/lib64"
    rm -rf "$folder"
    mv "$work/site/nvidia/cu13" "$folder"
    rm -rf "$work"
}

find_clang() {
    local candidate
    for candidate in clang-{14..19} clang; do
        command -v "$candidate" >/dev/null || continue
        [ "$("$candidate" -dumpversion | cut -d. -f1)" -ge 14 ] || continue
        command -v "$candidate"
        return
    done
    return 1
}

mkdir -p "$cache"
exec 9>"$cache/toolchain.lock"
flock 9 # two runs at once: the second waits, and then finds everything there

need g++ g++
need objcopy binutils

if [ -z "${CUDA_ROOT:-}" ]; then
    key=$(printf '%s\n' "${wheels[@]}" | sha256sum | cut -c1-12)
    CUDA_ROOT=$cache/nvcc-13.0-$key
    [ -x "$CUDA_ROOT/bin/nvcc" ] || install_nvcc "$CUDA_ROOT"
fi
NVCC=$CUDA_ROOT/bin/nvcc
[ -x "$NVCC" ] || die "CUDA_ROOT is $CUDA_ROOT, but there is no $NVCC"

if [ -z "${CLANG:-}" ]; then
    CLANG=$(find_clang) || {
        # Each release of Debian and Ubuntu has some of these.
        install clang-14 || install clang-19 || install clang || die "clang 14 or newer is missing and could not be installed"
        CLANG=$(find_clang) || die "the installed clang is older than 14; please install clang-14 or newer"
    }
fi

# What a build depends on besides its sources.
TOOLCHAIN_KEY=$({ "$NVCC" --version; "$CLANG" --version; g++ --version; } | sha256sum | cut -c1-12)
printf '%s=%q\n' CUDA_ROOT "$CUDA_ROOT" NVCC "$NVCC" CLANG "$CLANG" TOOLCHAIN_KEY "$TOOLCHAIN_KEY"
