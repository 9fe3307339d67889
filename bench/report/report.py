#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns Google Benchmark JSON and results.json files into results.json and one self-contained HTML page.

    report.py --out DIR [--against OLD.json] [--machine] FILE.json...

Several files are merged: repetitions of the same row are pooled.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from smx_bench import results as files  # noqa: E402


def write_page(results, out, against=None):
    """results.json and index.html in `out`; returns the path of the page."""
    from smx_bench import page  # needs matplotlib, which collecting and comparing do not

    old = files.load(against) if against else None
    os.makedirs(out, exist_ok=True)
    results.save(os.path.join(out, "results.json"))
    path = os.path.join(out, "index.html")
    files.write_atomically(path, page.render(results, old, os.path.basename(against) if against else ""))
    return path


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("files", nargs="+", metavar="FILE.json", help="Google Benchmark JSON or results.json")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for index.html and results.json")
    parser.add_argument("--against", metavar="OLD.json", help="an earlier results.json to compare with")
    parser.add_argument(
        "--machine", action="store_true", help="record this machine as the one that was measured"
    )
    options = parser.parse_args(arguments)
    try:
        results = files.Results()
        for path in options.files:
            results.add_file(path)
        if options.machine:
            from smx_bench import machine

            results.about["machine"] = machine.describe()
        print(write_page(results, options.out, options.against))
    except (files.ReportError, OSError) as e:
        print(f"report.py: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
