#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs bench_cuda and its peers on the GPU and writes results.json and index.html. scripts/gpu.sh is its front.

results.json is written after every row, so that whatever ends the run loses nothing that was measured.
"""

import argparse
import datetime
import json
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from run import Interrupted, Progress, interrupt  # noqa: E402
from smx_bench import cuda, goals, machine, results as files, units  # noqa: E402
from smx_bench.peers import ROOT, Worker  # noqa: E402


LATE = 1.4  # times the run's time: whatever hangs then is given up


class Late(Interrupted):
    pass


def late(*_):
    raise Late("its time was up")


class TorchOnGpu:
    """bench/peers/torch_cuda_worker.py. It starts at once and imports torch while our rows run; the GPU it opens later."""

    def __init__(self, python):
        self.worker = Worker([python, os.path.join(ROOT, "peers", "torch_cuda_worker.py")])
        self.version = None

    def ask(self, question):
        if self.version is None:
            self.version = self._said(self.worker.answer())["version"]
        return self._said(self.worker.ask(json.dumps(question)))

    @staticmethod
    def _said(line):
        said = json.loads(line)
        if "error" in said:
            raise files.ReportError(f"torch: {said['error']}")
        return said

    def close(self):
        self.worker.close()


class Run:
    def __init__(self, options, server):
        self.options, self.server, self.mode = options, server, cuda.MODES[options.mode]
        device = server.device
        self.results = files.Results(
            date=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            commit=machine.commit(os.path.dirname(os.path.abspath(__file__))),
            command=options.command,
            machine={
                **machine.describe(),
                **{k: v for k, v in device.items() if k not in ("compiler", "flags")},
            },
            compiler={"compiler": device["compiler"], "flags": device["flags"]},
        )
        self.path = os.path.join(options.out, "results.json")
        self.progress = Progress()
        self.failed = []  # rows of ours that began and did not end; a peer's are its own
        self.start = time.monotonic()
        self.deadline = self.start + self.mode["budget"] - (self.mode["torch"] if options.peers else 0)
        self.schedule = cuda.Schedule(options.mode, server.rows, device["gpu_free"])

    def measure(self, name):
        """One row; None where it failed."""
        try:
            answer = self.server.ask(name, self.mode["row"])
            row = cuda.row_from(answer)
        except files.ReportError as e:
            self.results.skip(name, str(e))
            if "/cuda/" in name:
                self.failed.append(name)
            return None
        self.schedule.learn(name, min(answer["samples_ms"]))
        return row

    def sweep(self):
        wanted = re.compile(self.options.filter)
        take, skip = self.schedule.order(wanted)
        pairs = cuda.library_pairs(self.server.rows) if self.options.peers else {}
        for name, reason in skip.items():
            self.results.skip(name, reason)
        for at, name in enumerate(take, 1):
            peer = pairs.get(name)
            left = self.deadline - time.monotonic()
            price = self.schedule.seconds(name) + (2 * self.schedule.seconds(peer) if peer else 0)
            if price > left and not cuda.FIRST.search(name):
                self.results.skip(name, f"predicted {price:.1f} s, {max(left, 0):.1f} s were left of the run's time")
                continue
            row = self.measure(name)
            if row is None:
                self.progress.show(at, len(take), f"{name}  {self.results.skipped[name]['reason']}")
                continue
            self.results.add_row(row)
            row = self.results.rows[name]
            text = f"{name}  {units.ms(row['ms'])}  {units.short(row['tokens/s'])} tokens/s"
            if peer:
                text += self.against(name, peer)
            self.results.save(self.path)
            self.progress.show(at, len(take), text)

    def against(self, name, peer):
        """The peer's row between two of ours."""
        theirs = self.measure(peer)
        if theirs is None:
            return f", {self.results.skipped[peer]['reason']}"
        again = self.measure(name)
        if again is not None:
            self.results.add_row(again)
        ours = self.results.rows[name]
        library = cuda.LIBRARIES[theirs["backend"]]
        pair = files.pair(name, ours["L"], library, ours["samples_ms"], theirs["samples_ms"], theirs["note"])
        self.results.add_pair(pair)
        return f", {library} {units.ms(pair['peer_ms'])}: {units.times(pair['ratio'])}"

    def dense_pairs(self):
        """Dense by cuBLAS is a row of ours and the rival of what applies a structured matrix to the same input."""
        for name, row in list(self.results.rows.items()):
            if row["mixer"] == "monarch" and row["variant"].startswith("order") and row["backend"] == "cuda":
                dense = self.results.rows.get(f"dense/full/{row['pass']}/cuda/L:{row['L']}")
                if dense:
                    self.results.add_pair(
                        files.pair(
                            name,
                            row["L"],
                            "cuBLAS",
                            row["samples_ms"],
                            dense["samples_ms"],
                            "a dense matrix of the same size, f32",
                        )
                    )

    def compare_with_torch(self, torch):
        wanted = [
            (f"{row}/L:{n}", n, task)
            for row, lengths, task in cuda.TORCH_PAIRS
            for n in lengths
            if f"{row}/L:{n}" in self.results.rows
        ]
        end = self.start + self.mode["budget"]
        for at, (name, length, task) in enumerate(wanted, 1):
            if time.monotonic() > end:
                self.results.skip(f"{name} against torch", "no time was left of the run's")
                continue
            try:
                said = torch.ask({**task, "L": length, "seconds": self.mode["row"]})
            except files.ReportError as e:
                self.results.skip(f"{name} against torch", str(e))
                self.progress.show(at, len(wanted), f"{name} against torch: {e}")
                if torch.version is None:
                    return
                continue
            ours = self.results.rows[name]
            pair = files.pair(
                name, length, torch.version, ours["samples_ms"], said["samples_ms"], said["formulation"]
            )
            pair["peer_eager_ms"] = said["eager_ms"]
            self.results.add_pair(pair)
            self.results.save(self.path)
            self.progress.show(
                at,
                len(wanted),
                f"peers  {name}  {units.ms(pair['ours_ms'])}, {torch.version} {units.ms(pair['peer_ms'])}: "
                f"{units.times(pair['ratio'])}",
            )


def options_from(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--bin", required=True, metavar="DIR", help="folder of bench_cuda")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for index.html and results.json")
    parser.add_argument("--mode", choices=sorted(cuda.MODES), default="default")
    parser.add_argument("--filter", default="", metavar="REGEX", help="only rows whose name it matches")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="time no other library")
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="a Python that has torch")
    parser.add_argument("--against", metavar="OLD.json", help="an earlier results.json to compare with")
    parser.add_argument("--command", help="what to record as the command of this run")
    options = parser.parse_args(arguments)
    options.command = options.command or " ".join(
        ["run_cuda.py", *(arguments if arguments is not None else sys.argv[1:])]
    )
    return options


def write_page(results, out, against):
    """The page, where there is matplotlib; its path or why there is none."""
    try:
        import report

        return f"page: {os.path.abspath(report.write_page(results, out, against))}"
    except ImportError as e:
        return f"no page ({e}); bench/report/report.py makes it from results.json where there is matplotlib"


def main(arguments=None):
    options = options_from(arguments)
    torch = server = None
    try:
        re.compile(options.filter)
        if options.against:
            files.load(options.against)
        os.makedirs(options.out, exist_ok=True)
        server = cuda.Server(options.bin)
        run = Run(options, server)
        code = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupt)
        signal.signal(signal.SIGALRM, late)
        signal.setitimer(signal.ITIMER_REAL, LATE * cuda.MODES[options.mode]["budget"])
        try:
            if options.peers:
                torch = TorchOnGpu(options.torch)
            run.sweep()
            if options.peers:
                run.dense_pairs()
                server.close()  # its memory and its turn on the GPU
                run.compare_with_torch(torch)
        except Interrupted as e:
            run.results.about["partial"] = (
                f"This run was interrupted ({e}): the page shows what was measured until then."
            )
            run.progress.say(f"interrupted by {e}; writing the page from what is there")
            code = 1 if isinstance(e, Late) else 130
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        run.results.about["peer_versions"] = ", ".join(sorted({p["peer"] for p in run.results.peers.values()}))
        run.results.save(run.path)
        run.progress.say(goals.text(goals.goals(run.results)))
        print(f"results: {run.path}")
        print(write_page(run.results, options.out, options.against))
        if not run.results.rows:
            print("run_cuda.py: no row was measured", file=sys.stderr)
            return 1
        for name in run.failed:
            print(f"run_cuda.py: {name} failed: {run.results.skipped.get(name, {}).get('reason', '')}", file=sys.stderr)
        return code or (1 if run.failed else 0)
    except re.error as e:
        print(f"run_cuda.py: --filter: {options.filter!r} is not a regular expression: {e}", file=sys.stderr)
        return 2
    except (files.ReportError, OSError) as e:
        print(f"run_cuda.py: {e}", file=sys.stderr)
        return 1
    finally:
        for one in (torch, server):
            if one is not None:
                one.close()


if __name__ == "__main__":
    sys.exit(main())
