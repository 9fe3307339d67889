# SPDX-License-Identifier: Apache-2.0
"""Measures how long translation units take to compile at -O2 and compares with budgets.json.

usage: measure.py FOLDER -- COMPILER ARG...

Seconds are of processor time (user and system), so that other work on the machine counts little. On a machine slower than
the one where the budgets were set, all of them grow by the ratio of the yardstick's times. A unit over its budget is
measured once more; the smaller time counts.
"""

import json
import pathlib
import resource
import subprocess
import sys


def seconds(command, source):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command + ["-O2", "-c", "-o", "/dev/null", str(source)], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{source} does not compile:\n{done.stderr}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main():
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit("usage: measure.py FOLDER -- COMPILER ARG...")
    folder, command = pathlib.Path(sys.argv[1]), sys.argv[3:]
    table = json.loads((folder / "budgets.json").read_text(encoding="utf-8"))

    yardstick = table["yardstick"]
    measured = seconds(command, folder / yardstick["source"])
    scale = max(1.0, measured / yardstick["seconds"])
    print(f"yardstick {measured:.2f} s, {yardstick['seconds']:.2f} s where the budgets were set: budgets times {scale:.2f}")
    over = 0
    for row in table["budgets"]:
        allowed = row["seconds"] * scale
        measured = seconds(command, folder / row["source"])
        if measured > allowed:
            measured = min(measured, seconds(command, folder / row["source"]))
        over += measured > allowed
        print(f"{measured:6.2f} s of {allowed:6.2f} s  {'OVER' if measured > allowed else 'ok  '}  {row['what']}")
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
