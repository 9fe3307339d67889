# SPDX-License-Identifier: Apache-2.0
"""Checks that a program does not compile, and that the compiler says why.

usage: run.py SOURCE -- COMPILER ARG...

SOURCE holds the mistake under `#ifndef FIXED` and names the expected words in `// error: regex`, anywhere in the file,
also several times; `// error[g++]: regex` or `// error[clang]: regex` where the compilers differ. Each regex must match
one line of the compiler's output. With -DFIXED the same file must compile: the mistake is the only reason to fail.
"""

import pathlib
import re
import subprocess
import sys


def compile_it(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def main():
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit("usage: run.py SOURCE -- COMPILER ARG...")
    source, command = sys.argv[1], sys.argv[3:]
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True).stdout
    kind = "clang" if "clang" in version else "g++"

    wanted = []
    for only, regex in re.findall(r"// error(?:\[([\w+]+)\])?: (.*)", pathlib.Path(source).read_text(encoding="utf-8")):
        if only in ("", kind):
            wanted.append(regex.strip())
    if not wanted:
        sys.exit(f"{source}: no line '// error: regex' for {kind}")

    # Not -fsyntax-only: with it g++ leaves function templates uninstantiated.
    command += ["-S", "-O0", "-o", "/dev/null", "-fdiagnostics-color=never", source]
    code, output = compile_it(command + ["-DFIXED"])
    if code != 0:
        sys.exit(f"{source}: does not compile with -DFIXED either:\n{output}")
    code, output = compile_it(command)
    if code == 0:
        sys.exit(f"{source}: compiles, but should not")
    lines = output.splitlines()
    missing = [regex for regex in wanted if not any(re.search(regex, line) for line in lines)]
    for regex in missing:
        print(f"{source}: no line of the output matches: {regex}")
    if missing:
        sys.exit("\n".join(lines[:60]))
    for regex in wanted:
        print(next(line for line in lines if re.search(regex, line)))


if __name__ == "__main__":
    main()
