#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Makes a recording for this folder:
#
#     traces/record.sh NAME PROGRAM [ARGUMENT...]     # NAME.vcuda, of tests/programs/PROGRAM
#
# The program runs in an empty folder, on a machine called `demo` whose processes count from 1, so that nothing of the machine
# that the recording was made on is in it. That needs Linux namespaces (root, or user namespaces). The vcuda command is the one
# in VCUDA_BIN (default: target/release).
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH=${VCUDA_BIN:-$repository/target/release}:$PATH
name=$1 program=$2
shift 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$("$repository/tests/build.sh" "$program")/$program" "$work"
cd "$work"
unshare --map-root-user --uts --pid --fork --mount --mount-proc bash -c '
    hostname demo
    vcuda record -o recording.vcuda "$@"' - "./$program" "$@"
mv recording.vcuda "$repository/traces/$name.vcuda"
