#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the ctests that are labelled `sanitize` under each tool of compute-sanitizer, within a time.

Exit status: 0 clean; 1 a tool found something, or a test failed under it; 77 nothing could be checked here, with the
reason on the last line. What did not fit into the time is said, and is no failure.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
FOUND = 86  # the exit status that compute-sanitizer is told to use
UNABLE = ("Device not supported", "LibraryNotLoaded", "not supported on this", "Unable to find injection library")


def labelled(build, label):
    """(name, command, folder) of each ctest with that label."""
    out = subprocess.run(
        ["ctest", "--test-dir", build, "-L", f"^{label}$", "--show-only=json-v1"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = []
    for test in json.loads(out)["tests"]:
        folder = next((p["value"] for p in test.get("properties", []) if p["name"] == "WORKING_DIRECTORY"), None)
        if test.get("command"):
            found.append((test["name"], test["command"], folder))
    return found


def check(sanitizer, tool, command, folder, seconds):
    """(exit status or None when the time ran out, what was written)."""
    words = [sanitizer, "--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "20", *command]
    # A group of its own: compute-sanitizer is a launcher, and what it launched would go on without it.
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )
    try:
        said = process.communicate(timeout=seconds)[0]
        return process.returncode, said
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--sanitizer", required=True, help="path of compute-sanitizer")
    parser.add_argument("--build", required=True, help="build folder")
    parser.add_argument("--out", required=True, help="folder for sanitizer.log")
    parser.add_argument("--seconds", type=float, default=75, help="for everything")
    options = parser.parse_args(arguments)
    tests = labelled(options.build, "sanitize")
    if not tests:
        print("no test is labelled sanitize")
        return 77
    deadline, failed, late = time.monotonic() + options.seconds, 0, []
    with open(os.path.join(options.out, "sanitizer.log"), "w", encoding="utf-8") as log:
        for tool in TOOLS:
            for name, command, folder in tests:
                left = deadline - time.monotonic()
                code, said = check(options.sanitizer, tool, command, folder, left) if left > 1 else (None, "")
                log.write(f"==== {tool} {name}: {code}\n{said}\n")
                log.flush()
                reason = next((line for line in said.splitlines() if any(u in line for u in UNABLE)), None)
                if reason:
                    print(f"compute-sanitizer does not run here: {reason.strip()}")
                    return 1 if failed else 77
                if code is None:
                    late.append(f"{tool} {name}")
                    continue
                last = said.strip().splitlines()[-1] if said.strip() else ""
                print(f"{tool:10} {name}: {'clean' if code == 0 else f'status {code}: {last}'}", flush=True)
                failed += code != 0
    if late:
        print(f"not within {options.seconds:g} s: {', '.join(late)}")
    if len(late) == len(TOOLS) * len(tests):
        return 77
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
