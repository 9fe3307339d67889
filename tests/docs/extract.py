# SPDX-License-Identifier: Apache-2.0
"""Writes the programs in a Markdown file to files, so that they are compiled and run by the tests.

usage: extract.py FILE FOLDER NAME...

A program is a ```cpp block right after the line `<!-- program: NAME -->`; it becomes FOLDER/NAME.cpp. The file's programs
must be exactly NAME...: then none can be added that is not compiled. A file that has the right text is not touched.
"""

import pathlib
import re
import sys

PROGRAM = re.compile(r"^<!-- program: (\w+) -->\n+```cpp\n(.*?)^```$", re.S | re.M)
MARKER = re.compile(r"<!-- program: ")


def programs(text):
    """The name and the text of each program, in order."""
    found = PROGRAM.findall(text)
    if len(found) != len(MARKER.findall(text)):
        sys.exit("a line <!-- program: NAME --> without a ```cpp block right after it")
    return found


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: extract.py FILE FOLDER NAME...")
    source, folder, names = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
    found = programs(source.read_text(encoding="utf-8"))
    if [name for name, _ in found] != names:
        sys.exit(f"{source}: expected the programs {names}, got {[name for name, _ in found]}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in found:
        file = folder / f"{name}.cpp"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
