#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the benchmark binaries of a build and writes results.json and index.html. scripts/bench.sh is its front.

results.json is written after every row, so that whatever ends the run loses nothing that was measured.
"""

import argparse
import datetime
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import report  # noqa: E402
from smx_bench import goals, machine, peers, results as files, units  # noqa: E402
from smx_bench.binary import Binaries  # noqa: E402
from smx_bench.schedule import MODES, Schedule  # noqa: E402


class Interrupted(Exception):
    pass


def interrupt(number, _):
    signal.signal(number, signal.SIG_DFL)  # a second one ends the writing of the page too
    raise Interrupted(signal.Signals(number).name)


class Progress:
    """One line a row; on a terminal the line is reused."""

    def __init__(self):
        self.start, self.terminal = time.monotonic(), sys.stdout.isatty()

    def show(self, at, of, text):
        seconds = int(time.monotonic() - self.start)
        line = f"[{at:3}/{of}] {seconds // 60}:{seconds % 60:02}  {text}"
        if self.terminal:
            line = f"\r\x1b[K{line[:shutil.get_terminal_size().columns - 1]}"
        print(line, end="" if self.terminal else "\n", flush=True)

    def say(self, text):
        print(("\n" if self.terminal else "") + text, flush=True)


class Run:
    def __init__(self, options, binaries, deadline):
        self.options, self.binaries, self.deadline = options, binaries, deadline
        self.results = files.Results(
            date=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            commit=machine.commit(os.path.dirname(os.path.abspath(__file__))),
            command=options.command,
            machine=machine.describe(),
        )
        self.path = os.path.join(options.out, "results.json")
        self.progress = Progress()

    def measure(self, name, repetitions, min_time):
        """Runs one row; True when it gave a time."""
        try:
            rows = self.results.add_google_benchmark(self.binaries.run(name, repetitions, min_time), name)
        except files.ReportError as e:
            self.results.skip(name, str(e))
            rows = []
        self.results.save(self.path)
        return bool(rows)

    def sweep(self):
        schedule = Schedule(self.options.mode, self.binaries.rows, machine.available_bytes())
        mode = schedule.mode
        names, skipped = schedule.first_round()
        others = machine.Others()
        for name, reason in skipped.items():
            self.results.skip(name, reason)
        for turn in range(mode["rounds"]):
            measured = []
            for at, name in enumerate(names, 1):
                price, repetitions = schedule.price(name)
                refusal = schedule.refusal(name, price, self.deadline - time.monotonic())
                if refusal:
                    self.results.skip(name, refusal)
                    continue
                if not self.measure(name, repetitions, mode["min_time"]):
                    continue
                row = self.results.rows[name]
                schedule.learn(name, row["ms"])
                measured.append(name)
                self.results.about["others_cores"] = round(others.cores(), 2)
                self.progress.show(
                    at,
                    len(names),
                    f"round {turn + 1}  {name}  {units.ms(row['ms'])}  "
                    f"{units.short(row['tokens/s'])} tokens/s",
                )
            names = measured
        self.results.save(self.path)

    def compare_with_peers(self):
        rounds, seconds = (3, 0.1) if self.options.mode == "quick" else (7, 0.3)
        opened = {}
        wanted = [p for p in peers.pairs(self.options.mode) if p[0] in self.binaries.rows]
        try:
            for at, (name, length, peer, task) in enumerate(wanted, 1):
                process = peers.FFTW if peer == peers.FFTW else peers.TORCH  # one worker has all of torch
                try:
                    if process not in opened:
                        opened[process] = (
                            peers.Fftw(self.options.bin)
                            if process == peers.FFTW
                            else peers.Torch(self.options.peers)
                        )
                    if isinstance(opened[process], files.ReportError):
                        raise opened[process]
                    pair, documents = peers.measure(
                        self.binaries, name, length, opened[process], task, rounds, seconds
                    )
                except files.ReportError as e:
                    if process not in opened:
                        opened[process] = e
                    self.results.skip(f"{name} against {peer}", str(e))
                    self.progress.show(at, len(wanted), f"peers  {name} against {peer}: {e}")
                    continue
                for document in documents:
                    self.results.add_google_benchmark(document, name)
                self.results.add_pair(pair)
                self.results.about["peer_versions"] = ", ".join(
                    sorted({p["peer"] for p in self.results.peers.values()})
                )
                self.results.save(self.path)
                self.progress.show(
                    at,
                    len(wanted),
                    f"peers  {name}  {units.ms(pair['ours_ms'])}, {pair['peer']} "
                    f"{units.ms(pair['peer_ms'])}: {units.times(pair['ratio'])}",
                )
        finally:
            for process in opened.values():
                if not isinstance(process, files.ReportError):
                    process.close()


def options_from(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--bin", required=True, metavar="DIR", help="folder of the benchmark binaries")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for index.html and results.json")
    parser.add_argument("--mode", choices=sorted(MODES), default="default")
    parser.add_argument(
        "--spent", type=float, default=0, metavar="SECONDS", help="taken off the time of the run"
    )
    parser.add_argument(
        "--threads", type=int, default=0, help="the second thread count beside 1 (0: all cores)"
    )
    parser.add_argument("--filter", default="", metavar="REGEX", help="only rows whose name it matches")
    parser.add_argument("--peers", metavar="PYTHON", help="time the peers too; a Python that has torch and transformers")
    parser.add_argument("--against", metavar="OLD.json", help="an earlier results.json to compare with")
    parser.add_argument("--command", help="what to record as the command of this run")
    options = parser.parse_args(arguments)
    options.command = options.command or " ".join(
        ["run.py", *(arguments if arguments is not None else sys.argv[1:])]
    )
    return options


def main(arguments=None):
    options = options_from(arguments)
    try:
        if options.against:
            files.load(options.against)  # now rather than after ten minutes
        os.makedirs(options.out, exist_ok=True)
        binaries = Binaries(options.bin, options.threads, options.filter)
        if not binaries.rows:
            raise files.ReportError(f"--filter: no row matches {options.filter!r}")
        budget = max(0.3 * MODES[options.mode]["budget"], MODES[options.mode]["budget"] - options.spent)
        run = Run(options, binaries, time.monotonic() + budget)
        code = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupt)
        try:
            run.sweep()
            if options.peers:
                run.compare_with_peers()
        except Interrupted as e:
            run.results.about["partial"] = (
                f"This run was interrupted ({e}): the page shows what was measured until then."
            )
            run.progress.say(f"interrupted by {e}; writing the page from what is there")
            code = 130
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # what is measured is saved; the page is written beside and renamed
            signal.signal(number, signal.SIG_DFL)
        if goals.model_pairs(run.results):
            run.progress.say(goals.text(goals.model_goals(run.results)))
        run.progress.say(f"results: {run.path}")
        print(f"page: {os.path.abspath(report.write_page(run.results, options.out, options.against))}")
        return code
    except (files.ReportError, OSError) as e:
        print(f"run.py: {e}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
