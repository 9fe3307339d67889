# SPDX-License-Identifier: Apache-2.0
"""Checks that what the Markdown files point at is there.

usage: check_links.py ROOT

* relative links lead to a file or folder, and their #anchors to a heading of it;
* `<smx/...>`, `smx/...`, `include/...`, `scripts/...`, `tests/...`, `docs/...`, `examples/...`, `bench/...`, `cmake/...` in
  backticks or includes are there;
* every file in docs/ is linked from README.md or docs/index.md.

Prints one line for each problem, `file:line: what`, and exits with 1 if there is any.
"""

import pathlib
import re
import sys

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE_PATH = re.compile(r"`<?((?:smx|include|scripts|tests|docs|examples|bench|cmake)/[\w./-]+)>?`")
INCLUDE = re.compile(r"#include <(smx/[\w./]+)>")
FENCE = re.compile(r"^\s*```")


def anchor(heading):
    """What GitHub makes of a heading."""
    text = re.sub(r"[`*]", "", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(file):
    found, fenced = set(), False
    for line in file.read_text(encoding="utf-8").splitlines():
        if FENCE.match(line):
            fenced = not fenced
        if not fenced and line.startswith("#"):
            found.add(anchor(line.lstrip("#")))
    return found


def exists(root, path):
    """A path from the root; smx/... is a header."""
    return (root / "include" / path if path.startswith("smx/") else root / path).exists()


def problems_of(root, file):
    fenced = False
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{file.relative_to(root)}:{number}"
        for path in INCLUDE.findall(line):
            if not exists(root, path):
                yield f"{where}: no header <{path}>"
        if FENCE.match(line):
            fenced = not fenced
        if fenced:
            continue
        for path in CODE_PATH.findall(line):
            if not exists(root, path.rstrip(".")):
                yield f"{where}: no {path}"
        for target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, fragment = target.partition("#")
            to = (file.parent / path) if path else file
            if not to.exists():
                yield f"{where}: no {target}"
            elif fragment and fragment not in anchors(to):
                yield f"{where}: no heading for {target}"


def linked(file):
    """The files that it links to."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return {(file.parent / target.partition("#")[0]).resolve() for target in LINK.findall(text)}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: check_links.py ROOT")
    root = pathlib.Path(sys.argv[1]).resolve()
    files = sorted([*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("examples/**/*.md")])
    problems = [problem for file in files for problem in problems_of(root, file)]
    reachable = linked(root / "README.md") | linked(root / "docs" / "index.md")
    for file in sorted(root.glob("docs/**/*.md")):
        if file.resolve() not in reachable:
            problems.append(f"{file.relative_to(root)}:1: linked neither from README.md nor from docs/index.md")
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} problems")
    sys.exit(1 if problems or not files else 0)


if __name__ == "__main__":
    main()
