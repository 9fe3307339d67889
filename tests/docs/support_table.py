# SPDX-License-Identifier: Apache-2.0
"""Holds the support table of a Markdown file against what the program support_table prints.

usage: support_table.py FILE PROGRAM [--write]

The table stands between `<!-- support table: begin ... -->` and `<!-- support table: end -->`. Exits with 1 when it
differs, or replaces it (--write).
"""

import pathlib
import re
import subprocess
import sys

TABLE = re.compile(r"(<!-- support table: begin[^>]*-->\n)(.*?)(<!-- support table: end -->)", re.S)


def replaced(text, table):
    """The text with that table in it."""
    if len(TABLE.findall(text)) != 1:
        sys.exit("expected one table between <!-- support table: begin --> and <!-- support table: end -->")
    return TABLE.sub(lambda match: match[1] + table + match[3], text)


def main():
    arguments = sys.argv[1:]
    write = "--write" in arguments
    arguments = [a for a in arguments if a != "--write"]
    if len(arguments) != 2:
        sys.exit("usage: support_table.py FILE PROGRAM [--write]")
    file = pathlib.Path(arguments[0])
    table = subprocess.run([arguments[1]], check=True, capture_output=True, text=True).stdout
    text = file.read_text(encoding="utf-8")
    wanted = replaced(text, table)
    if text == wanted:
        return
    if not write:
        sys.exit(f"{file}: the support table is out of date; regenerate it with scripts/support_table.sh")
    file.write_text(wanted, encoding="utf-8")
    print(f"{file}: support table replaced")


if __name__ == "__main__":
    main()
