#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Bring src/functions.tsv up to date with the CUDA libraries and headers of new releases.

The build does not need this script: the table is checked in, and edited by hand. Run it when a new CUDA release
appears. It adds names and widens version ranges, and keeps every other column of the rows that are there.

    collect.py --runtime 9.0=libcudart.so.9.0 --runtime 13.0=libcudart.so.13 ... \\
               --driver libcuda.so.1 --headers include-13.0 --headers include-13.5

--runtime VERSION=FILE  a libcudart. The wheels nvidia-cuda-runtime-cu11, -cu12 and nvidia-cuda-runtime hold 11.7 and
                        newer; the torch wheels 1.1.0, 1.2.0, 1.4.0 and 1.5.1 for Python 3.7 hold 9.0, 10.0, 10.1 and
                        10.2; Debian 11 has 11.2 (libcudart11.0).
--driver FILE           a libcuda.so.1 (Debian's libcuda1), for the names that are exported and in no header.
--headers DIR           a folder with cuda*Typedefs.h, which say in which release each driver function appeared.

A runtime name's range ends in the newest release that has it. Releases that were not at hand (9.1, 9.2, 11.0, 11.1,
11.3 to 11.6, 12.7) are taken to be like their neighbours.
"""

import argparse
import pathlib
import re
import subprocess

TABLE = pathlib.Path(__file__).parent / "src" / "functions.tsv"

# In 9.2, which was not at hand, but which compilers that target it rely on.
FIRST_SEEN_LATE = {"__cudaPushCallConfiguration": (9, 2), "__cudaPopCallConfiguration": (9, 2)}

# Not for programs on Linux: the debugger's entry points, EGL's loader and a function of Windows.
NOT_API = re.compile(r"cudbg|cuEGLApiInit$|cuWGL")


def exports(library):
    """The functions that a shared library exports, without their versions."""
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    fields = (line.split() for line in listing.splitlines())
    return {name.split("@")[0] for _, kind, name in fields if kind in "TWi"}


def parse_version(text):
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def runtime_ranges(libraries):
    """name -> (first, last) over (version, file) pairs; a name that goes away must not come back."""
    found = {}
    releases = sorted((parse_version(version), file) for version, file in libraries)
    for index, (version, file) in enumerate(releases):
        for name in exports(file):
            seen = found.setdefault(name, [])
            if seen and seen[-1] != index - 1:
                raise SystemExit(f"{name} disappears before {version} and comes back: one range cannot say that")
            seen.append(index)
    ranges = {name: (releases[seen[0]][0], releases[seen[-1]][0]) for name, seen in found.items()}
    for name, first in FIRST_SEEN_LATE.items():
        if name in ranges:
            ranges[name] = (min(first, ranges[name][0]), ranges[name][1])
    return ranges


def driver_firsts(folders, library):
    """exported driver name -> the release it appeared in.

    The typedef headers give, per function, the releases in which it got a new signature, and the n-th of those is the
    export NAME_vn (the first is the plain NAME). A _ptds or _ptsz twin belongs to the newest signature of its release.
    """
    signatures, twins = {}, {}
    for folder in folders:
        for header in pathlib.Path(folder).glob("cuda*Typedefs.h"):
            for name, version, twin in re.findall(r"\*\s*PFN_(cu\w+?)_v(\d+)(_ptsz|_ptds)?\)", header.read_text()):
                release = (int(version) // 1000, int(version) % 1000 // 10)
                if twin:
                    twins.setdefault((name, twin), set()).add(release)
                else:
                    signatures.setdefault(name, set()).add(release)

    def export(name, release):
        generation = sum(1 for other in signatures.get(name, ()) if other <= release)
        return name if generation <= 1 else f"{name}_v{generation}"

    firsts = {export(name, release): release for name, releases in signatures.items() for release in releases}
    for (name, twin), releases in twins.items():
        for release in releases:
            firsts[export(name, release) + twin] = release
    for name in exports(library) if library else ():
        if name not in firsts and not NOT_API.match(name):
            print(f"{name}: exported by {library}, but in no header; taken to be as old as the API")
            firsts[name] = (2, 0)
    return {name: first for name, first in firsts.items() if not NOT_API.match(name)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", action="append", default=[], metavar="VERSION=FILE")
    parser.add_argument("--driver", metavar="FILE")
    parser.add_argument("--headers", action="append", default=[], metavar="DIR")
    arguments = parser.parse_args()

    head, rows = [], {}
    for line in TABLE.read_text().splitlines() if TABLE.exists() else ():
        if line.startswith("#") or line.startswith("name\t"):
            head.append(line)
        elif line:
            columns = line.split("\t")
            rows[columns[0]] = columns

    def update(name, library, first, last):
        row = rows.setdefault(name, [name, library, "", "", "stub", "error", "801", "-"])
        row[2] = "%d.%d" % min([first] + [parse_version(known) for known in row[2:3] if known])
        row[3] = "-" if last is None else "%d.%d" % max([last] + [parse_version(known) for known in row[3:4] if known])

    for name, (first, last) in runtime_ranges(pair.split("=", 1) for pair in arguments.runtime).items():
        update(name, "runtime", first, last)
    for name, first in driver_firsts(arguments.headers, arguments.driver).items():
        update(name, "driver", first, None)

    lines = head + ["\t".join(row) for _, row in sorted(rows.items())]
    TABLE.write_text("\n".join(lines) + "\n")
    print(f"{len(rows)} functions in {TABLE}")


if __name__ == "__main__":
    main()
