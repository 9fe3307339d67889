# SPDX-License-Identifier: Apache-2.0
"""Runs our benchmark binaries, one row a process."""

import json
import os
import re
import subprocess

from .results import ReportError

NAMES = ("bench_primitives", "bench_mixers", "bench_models")


def _escape(name):
    return re.sub(r"([.+*?^$()\[\]{}|\\])", r"\\\1", name)


class Binaries:
    """The benchmark binaries of a build; `rows` maps names to what the plan says of them."""

    def __init__(self, folder, threads, pattern=""):
        self.threads, self.rows, self.process = threads, {}, None
        try:
            wanted = re.compile(pattern)
        except re.error as e:
            raise ReportError(f"--filter: {pattern!r} is not a regular expression: {e}") from e
        for name in NAMES:
            path = os.path.join(folder, name)
            for line in self._output([path, "--plan", *self._threads()]).splitlines():
                row = json.loads(line)
                if wanted.search(row["name"]):
                    self.rows[row["name"]] = {**row, "binary": path}

    def _threads(self):
        return ["--threads", str(self.threads)] if self.threads else []

    def _output(self, command):
        # A session of its own: Ctrl-C reaches us alone, and we end the row that runs.
        try:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
        except OSError as e:
            raise ReportError(f"{command[0]}: {e.strerror}") from e
        try:
            out, err = self.process.communicate()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        if self.process.returncode != 0:
            said = err.strip().splitlines()[-1] if err.strip() else "nothing on stderr"
            raise ReportError(f"{' '.join(command)}: exit status {self.process.returncode}: {said}")
        return out

    def run(self, name, repetitions, min_seconds):
        """The Google Benchmark document of one row."""
        out = self._output(
            [
                self.rows[name]["binary"],
                *self._threads(),
                f"--benchmark_filter=^{_escape(name)}/real_time$",
                f"--benchmark_repetitions={repetitions}",
                f"--benchmark_min_time={min_seconds}",
                "--benchmark_format=json",
            ]
        )
        try:
            return json.loads(out)
        except json.JSONDecodeError as e:
            raise ReportError(f"{name}: the benchmark binary wrote no JSON") from e
