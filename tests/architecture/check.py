# SPDX-License-Identifier: Apache-2.0
"""Checks the sources against the architecture: who may include whom, header length, headers' first lines, macros.

usage: check.py ROOT

Prints one line for each violation, `file:line: what`, and exits with 1 if there is any.
"""

import pathlib
import re
import sys

# Each layer and the layers it may include. The first prefix that matches a path names its layer.
LAYERS = [
    ("include/smx/core/", "core"),
    ("include/smx/version.hpp", "core"),
    ("include/smx/io/", "io"),
    ("include/smx/backend/cpu.hpp", "cpu"),
    ("include/smx/backend/cpu/", "cpu"),
    ("include/smx/backend/cuda.cuh", "cuda"),
    ("include/smx/backend/cuda/", "cuda"),
    ("include/smx/backend/", "backend"),
    ("include/smx/structured/", "structured"),
    ("include/smx/mixers/", "mixers"),
    ("include/smx/nn.hpp", "nn"),
    ("include/smx/nn/", "nn"),
    ("include/smx/models/", "models"),
    ("include/smx/testing/", "testing"),
    ("include/smx/smx.hpp", "umbrella"),
    ("include/smx/", "values"),
    ("tests/", "program"),
    ("bench/", "program"),
    ("examples/", "program"),
    ("lab/", "program"),
]
ALLOWED = {
    "core": {"core"},
    "io": {"core", "io"},
    "backend": {"core", "backend"},
    "structured": {"core", "backend", "structured"},
    "mixers": {"core", "backend", "structured", "mixers"},
    "cpu": {"core", "backend", "cpu"},
    "cuda": {"core", "backend", "cuda"},
    "nn": {"core", "backend", "structured", "mixers", "nn"},
    "models": {"core", "io", "backend", "structured", "mixers", "nn", "values", "models"},
    "values": {"core", "io", "backend", "structured", "mixers", "values"},
    "umbrella": {"core", "io", "backend", "structured", "mixers", "nn", "values", "umbrella"},
    "testing": {"core", "io", "backend", "structured", "mixers", "nn", "values", "testing", "umbrella"},
    "program": set(layer for _, layer in LAYERS),
}
# What a layer may include besides smx and the standard library.
OUTSIDE = {
    "cpu": re.compile(r"(unsupported/)?Eigen/|omp\.h$|immintrin\.h$|arm_neon\.h$|sys/mman\.h$|unistd\.h$|sched\.h$"),
    "io": re.compile(r"(sys/(mman|stat|types)|fcntl|unistd)\.h$"),
    "cuda": re.compile(r"cu|nv"),
    "testing": re.compile(r"catch2/"),
    "program": re.compile(r""),
}
NEVER_IN_HEADERS = {"iostream", "functional", "regex", "random"}
MAX_LINES = 420  # the house rule is "about 400"
MAX_MACROS = 9

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
MACRO = re.compile(r"^\s*#\s*define\s+(\w+)")
UNDEF = re.compile(r"^\s*#\s*undef\s+(\w+)")


def layer_of(path):
    return next(layer for prefix, layer in LAYERS if path.startswith(prefix))


def check_include(path, layer, quote, name):
    """Why this include is not allowed, or None."""
    is_header = path.startswith("include/")
    if name.startswith("smx/"):
        target = layer_of("include/" + name)
        if target not in ALLOWED[layer]:
            return f"{layer} must not include {target}: <{name}>"
        return None
    if quote == '"':
        return f'a header includes by its full path, <smx/...>: "{name}"' if is_header else None
    if is_header and name in NEVER_IN_HEADERS:
        return f"<{name}> is too heavy for a header"
    if "Eigen/" in name and layer not in ("cpu", "program"):
        return f"only backend/cpu includes Eigen: <{name}>"
    if re.fullmatch(r"[a-z_0-9]+", name):  # the C++ standard library
        return None
    if layer in OUTSIDE and OUTSIDE[layer].match(name):
        return None
    return f"{layer} must not include <{name}>"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check.py ROOT")
    root = pathlib.Path(sys.argv[1])
    problems, macros, files = [], {}, 0
    for folder in ("include", "tests", "bench", "examples", "lab"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in (".hpp", ".cpp", ".cuh", ".cu") or "build" in file.relative_to(root).parts:
                continue
            files += 1
            path = file.relative_to(root).as_posix()
            layer = layer_of(path)
            lines = file.read_text(encoding="utf-8").splitlines()
            if not lines or lines[0] != "// SPDX-License-Identifier: Apache-2.0":
                problems.append(f"{path}:1: the first line is not the SPDX line")
            is_header = path.startswith("include/")
            defined = {}
            if is_header and (len(lines) < 2 or not re.match(r"/// \\file  ?\S", lines[1])):
                problems.append(f"{path}:2: the second line does not start with '/// \\file '")
            if is_header and len(lines) > MAX_LINES:
                problems.append(f"{path}:{len(lines)}: {len(lines)} lines, allowed are {MAX_LINES}")
            if is_header and "#pragma once" not in lines:
                problems.append(f"{path}:1: no #pragma once")
            for number, line in enumerate(lines, 1):
                if match := INCLUDE.match(line):
                    if why := check_include(path, layer, *match.groups()):
                        problems.append(f"{path}:{number}: {why}")
                if is_header and (match := MACRO.match(line)):
                    defined.setdefault(match[1], f"{path}:{number}")
                if is_header and (match := UNDEF.match(line)):
                    defined.pop(match[1], None)  # it reaches nobody
            for name, where in defined.items():
                macros.setdefault(name, where)
    for name, where in macros.items():
        if not name.startswith("SMX_"):
            problems.append(f"{where}: the macro {name} does not start with SMX_")
    if len(macros) > MAX_MACROS:
        problems.append(f"{len(macros)} macros, allowed are {MAX_MACROS}: {' '.join(sorted(macros))}")
    for problem in problems:
        print(problem)
    print(f"{files} files, {len(macros)} macros, {len(problems)} violations")
    sys.exit(1 if problems or files == 0 else 0)


if __name__ == "__main__":
    main()
