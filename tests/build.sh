#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds the test programs, and prints the folder that holds them:
#
#     bin=$(tests/build.sh)             # all of them
#     bin=$(tests/build.sh vector_add)  # only these
#
# A program is built again only when it, a header, a part or the toolchain changed: every binary is kept in the cache under a
# name that carries a hash of all it was made from, and the printed folder links to the ones that belong together.
#
#     VCUDA_CACHE   as in toolchain.sh
#     JOBS          programs built at once (default: the number of processors, at most 4)
set -euo pipefail

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${VCUDA_CACHE:-$(dirname "$tests")/.cache}
mkdir -p "$cache/programs/store"
cache=$(cd "$cache" && pwd)
store=$cache/programs/store
say() { echo "build: $*" >&2; }

# directive NAME SOURCE: what the line `// NAME: ...` of a source says.
directive() { sed -n "s|^// $1: *||p" "$2" | head -1; }

# link_stub SONAME NODE OBJECT...: an empty library of that name, for the linker to find the CUDA functions that the objects
# lack. Programs can so be linked for CUDA versions that are not installed here, and for the driver, which never is.
link_stub() {
    local soname=$1 node=$2 work
    shift 2
    work=$(dirname "$1")
    nm --undefined-only "$@" | awk '$2 ~ /^(cu[A-Z]|cuda[A-Z]|__cuda)/ { print "void " $2 "(void) {}" }' | sort -u >"$work/stub.c"
    local arguments=(-shared -fPIC -w -Wl,-soname,"$soname" -o "$work/libstub.so" "$work/stub.c")
    if [ -n "$node" ]; then
        echo "$node { global: *; };" >"$work/stub.map"
        arguments+=(-Wl,--version-script="$work/stub.map")
    fi
    gcc "${arguments[@]}"
}

# programs/*.cu, programs/vcuda_only/*.cu: nvcc, with the flags of the source's own `// nvcc:` line.
build_nvcc() { # SOURCE WORK
    local flags
    read -ra flags <<<"$(directive nvcc "$1")"
    (cd "$tests/programs" && "$NVCC" -std=c++17 --cudart shared -I "$tests/programs" --keep-dir "$2" "${flags[@]}" -o "$2/program" "$1")
}

# programs/clang/*.cu: clang, for the launch ABI of the version on the `// cuda:` line, without NVIDIA's headers.
build_clang() { # SOURCE WORK
    local work=$2 version soname abi
    version=$(directive cuda "$1")
    abi=$version
    case $version in
        9.* | 10.*) soname=libcudart.so.$version ;;
        11.*) soname=libcudart.so.11.0 ;;
        *) soname=libcudart.so.${version%%.*} abi=11.0 ;; # the ABI is the same, and clang 14 takes a later version for 9.0
    esac
    local clang=("$CLANG" -x cuda -nocudainc -nocudalib -std=c++17 -I "$tests/programs" -Wno-unknown-cuda-version)
    "${clang[@]}" --cuda-device-only --cuda-gpu-arch=sm_70 -O2 -S -o "$work/kernels.ptx" "$1"
    local fatbinary
    read -ra fatbinary <<<"$(directive fatbinary "$1")"
    "$CUDA_ROOT/bin/fatbinary" -64 --create="$work/kernels.fatbin" --image3=kind=ptx,sm=70,file="$work/kernels.ptx" "${fatbinary[@]}"
    "${clang[@]}" --cuda-host-only -O1 -c -Xclang -target-sdk-version="$abi" \
        -Xclang -fcuda-include-gpubinary -Xclang "$work/kernels.fatbin" -o "$work/host.o" "$1"
    local objects=("$work/host.o")
    if grep -q cuda90_init_module "$1"; then
        # The part needs the handle that clang keeps to itself.
        objcopy --globalize-symbol=__cuda_gpubin_handle "$work/host.o"
        gcc -O1 -c -o "$work/init_module.o" "$tests/programs/parts/init_module.c"
        objects+=("$work/init_module.o")
    fi
    link_stub "$soname" "$soname" "${objects[@]}"
    g++ -no-pie -o "$work/program" "${objects[@]}" "$work/libstub.so"
    local imports
    imports=$(directive imports "$1")
    if [ -n "$imports" ]; then check_imports "$work/program" "$soname" "$imports"; fi
}

# check_imports PROGRAM NODE "NAME...": the program's CUDA symbols must be exactly these.
check_imports() {
    local expected actual
    # Old binutils print `name@@node`, newer ones `name@node`.
    actual=$(nm "$1" | sed -n 's/^ *U \(.*libcudart.*\)$/\1/p' | sed 's/@@/@/' | sort)
    expected=$(printf "%s@$2\n" $3 | sort)
    [ "$actual" = "$expected" ] || {
        say "the imports of $1 are not those that its source announces:"
        diff <(echo "$expected") <(echo "$actual") >&2 || true
        return 1
    }
}

# programs/driver/*.cpp: a host compiler; what is not reached with dlsym is linked to the driver library.
build_driver() { # SOURCE WORK
    g++ -std=c++17 -O1 -Wall -I "$tests/programs" -I "$CUDA_ROOT/include" -c -o "$2/host.o" "$1"
    link_stub libcuda.so.1 "" "$2/host.o"
    g++ -o "$2/program" "$2/host.o" -Wl,--as-needed "$2/libstub.so" -ldl -pthread
}

build_one() { # SOURCE RESULT
    local source=$1 result=$2 work name
    name=$(basename "${source%.*}")
    work=$(mktemp -d "$store/.building-$name-XXXXXX")
    case $source in
        */clang/*) builder=build_clang ;;
        */driver/*) builder=build_driver ;;
        *) builder=build_nvcc ;;
    esac
    # A failing command must end this function, which `if` and `||` would prevent: hence a shell of its own.
    (set -e; "$builder" "$source" "$work") >"$work/log" 2>&1 &
    if wait $!; then
        mv "$work/program" "$result" # at once, so that what is in the store is whole
        rm -rf "$work"
    else
        say "$name does not build:"
        cat "$work/log" >&2
        rm -rf "$work"
        return 1
    fi
}

eval "$("$tests/toolchain.sh")"
shopt -s nullglob
sources=("$tests"/programs/*.cu "$tests"/programs/{vcuda_only,clang}/*.cu "$tests"/programs/driver/*.cpp)
wanted=" $* "
common=$(cat "$tests/build.sh" "$tests"/programs/{,clang/,driver/}*.h "$tests"/programs/parts/* | sha256sum | cut -c1-64)
jobs=${JOBS:-$(nproc)}
[ "$jobs" -le 4 ] || jobs=4

exec 8>"$cache/programs/lock"
flock 8
rm -rf "$store"/.building-* # left by an interrupted run

names=() results=() failed=0 running=0
for source in "${sources[@]}"; do
    name=$(basename "${source%.*}")
    [ $# -eq 0 ] || [[ $wanted == *" $name "* ]] || continue
    hash=$(echo "$TOOLCHAIN_KEY $common" | cat - "$source" | sha256sum | cut -c1-16)
    names+=("$name") results+=("$store/$name-$hash")
    [ ! -x "$store/$name-$hash" ] || continue
    say "$name"
    if [ "$running" -ge "$jobs" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    build_one "$source" "$store/$name-$hash" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
[ "$failed" -eq 0 ] || { say "some programs were not built"; exit 1; }
[ ${#names[@]} -gt 0 ] || { say "there is no program called$wanted"; exit 1; }

folder=$cache/programs/$(printf '%s\n' "${results[@]}" | sha256sum | cut -c1-16)
mkdir -p "$folder"
for i in "${!names[@]}"; do
    ln -f "${results[$i]}" "$folder/${names[$i]}"
done
echo "$folder"
