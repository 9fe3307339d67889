# SPDX-License-Identifier: Apache-2.0
"""The rows of bench_cuda: asking for them, the order in which a run asks, the pairs with other libraries."""

import json
import os
import re
import subprocess
import tempfile

from . import names
from .results import ReportError, parse_name

MODES = {  # seconds of measuring in all, of which for torch; seconds of one row's samples; lengths
    "quick": {"budget": 30, "torch": 10, "row": 0.01, "lengths": {4096, 8192, 65536}},
    "default": {"budget": 120, "torch": 30, "row": 0.03, "lengths": None},
}
FIRST_RATE, FIRST_BANDWIDTH = 15e12, 0.8e12  # flop/s and bytes/s of a row of which nothing is known
SETUP = 0.04  # seconds to make a row's memory, graph and events
CALLS = 12  # that a long row takes: warm-up, counted, captured, samples
MEMORY_SHARE = 0.9  # of the free memory of the GPU

# What the goals are read from comes first, whatever the time does to the rest (goals.py).
FIRST = re.compile(
    r"^(gemm|copy)/"
    r"|^(monarch/order-2|dense/full)/forward/cuda/L:65536$"
    r"|^monarch/order-2/forward/cuda-recipe/L:65536$"
    r"|^attention/(full|causal)(-d128)?/forward/cuda-bf16/L:8192$"
    r"|^ssd/heads-(24|80)/forward/cuda(-recipe)?/L:(2048|8192|32768)$"
    r"|^attention/causal/forward/cuda/L:(2048|8192|32768)$"
    r"|^long_convolution/causal(-channel-major)?/forward/(cuda|cufft)/L:(1024|4096|32768|1048576)$"
)

CUFFT, CUBLAS = "cufft", "cuBLAS"
LIBRARIES = {CUFFT: "cuFFT"}


def _task(task, **options):
    return {"task": task, **options}


# (our row without its length, lengths, task of peers/torch_cuda_worker.py)
TORCH_PAIRS = [
    ("monarch/order-2/forward/cuda", (4096, 16384, 65536), _task("monarch")),
    ("long_convolution/causal/forward/cuda", (4096, 16384, 65536), _task("convolution")),
    (
        "long_convolution/causal-channel-major/forward/cuda",
        (4096, 16384, 65536),
        _task("convolution", channel_major=True),
    ),
    ("ssd/heads-24/forward/cuda", (2048, 8192, 32768), _task("ssd", heads=24)),
]
TORCH_PAIRS += [
    (
        f"attention/{mask}{'-d128' if dim == 128 else ''}/forward/cuda{backend}",
        lengths,
        _task("attention", dim=dim, causal=mask == "causal", dtype=dtype),
    )
    for backend, dtype, lengths in (("-bf16", "bf16", (2048, 8192, 32768)), ("", "f32", (8192,)))
    for mask in ("full", "causal")
    for dim in (64, 128)
]


class Server:
    """bench_cuda --serve; started again when an error of CUDA made the last one useless."""

    def __init__(self, folder):
        self.path, self.process, self.errors = os.path.join(folder, "bench_cuda"), None, None
        self.device = json.loads(self._once("--device"))
        self.rows = {}
        for line in self._once("--plan").splitlines():
            row = json.loads(line)
            self.rows[row["name"]] = row

    def _once(self, option):
        try:
            done = subprocess.run([self.path, option], capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise ReportError(f"{self.path} {option}: {getattr(e, 'strerror', None) or e}") from e
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise ReportError(said[-1] if said else f"{self.path} {option}: exit status {done.returncode}")
        return done.stdout

    def ask(self, name, seconds):
        """The answer as a dict; ReportError where the row failed."""
        if self.process is None:
            self.errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")
            # A session of its own: Ctrl-C reaches the driver alone.
            self.process = subprocess.Popen(
                [self.path, "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                text=True,
                start_new_session=True,
            )
        try:
            self.process.stdin.write(f"{name} {seconds}\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().strip().splitlines()
            self.close()
            raise ReportError(f"bench_cuda ended with status {code}: {said[-1] if said else 'nothing on stderr'}")
        answer = json.loads(line)
        if "error" in answer:
            if answer.get("fatal"):
                self.close()
            raise ReportError(answer["error"])
        return answer

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def row_from(answer):
    """A row of results.json from an answer of bench_cuda: everything for one call, of a step for one token."""
    row = parse_name(answer["name"])
    if row is None:
        raise ReportError(f"bench_cuda: a row is named {answer['name']!r}")
    share = 1
    if row["pass"] == "step":
        share, row["tokens"] = 1 / answer["tokens"], 1
    row["samples_ms"] = [t * share for t in answer["samples_ms"]]
    row["D"] = answer["D"]
    for key in ("flops", "bytes", "launches", "launches_counted", "graph_nodes", "direct_ms"):
        if answer.get(key) is not None:
            row[key] = answer[key] * share
    for key in ("workspace", "tensors", "sets", "note"):
        row[key] = answer[key]
    return row


class Schedule:
    """Which rows run: those of the goals, then the cheap before the dear, while they fit."""

    def __init__(self, mode, rows, free_bytes):
        self.mode, self.rows, self.free, self.rates = MODES[mode], rows, free_bytes, {}

    def order(self, wanted):
        """(names, {name: reason}); peers' rows are asked for with ours."""
        take, skip = [], {}
        for name, row in self.rows.items():
            parsed = parse_name(name)
            if not wanted.search(name) or parsed["backend"] in LIBRARIES:
                continue
            lengths = self.mode["lengths"]
            if lengths is not None and parsed["L"] not in lengths and not FIRST.search(name):
                continue
            need = row["workspace"] + row["tensors"]
            if need > MEMORY_SHARE * self.free:
                skip[name] = f"needs {need / 2**30:.1f} GiB, {self.free / 2**30:.1f} GiB are free"
            else:
                take.append(name)
        take.sort(
            key=lambda n: (
                parse_name(n)["mixer"] not in names.YARDSTICKS,
                not FIRST.search(n),
                self.call_seconds(n),
            )
        )
        return take, skip

    @staticmethod
    def _curve(name):
        p = parse_name(name)
        return p["mixer"], p["variant"], p["pass"], p["backend"]

    def call_seconds(self, name):
        row = self.rows[name]
        guess = max(row["flops"] / FIRST_RATE, row["bytes"] / FIRST_BANDWIDTH, 2e-6 * row["launches"])
        known = self.rates.get(self._curve(name))
        if not known:
            return guess
        nearest = min(known, key=lambda n: abs(n - row["L"]))
        return guess * known[nearest]

    def learn(self, name, ms):
        """How much slower or faster than the first guess this curve runs."""
        row = self.rows[name]
        guess = max(row["flops"] / FIRST_RATE, row["bytes"] / FIRST_BANDWIDTH, 2e-6 * row["launches"])
        if guess > 0:
            self.rates.setdefault(self._curve(name), {})[row["L"]] = ms * 1e-3 / guess

    def seconds(self, name):
        """What asking for the row is predicted to take."""
        call = self.call_seconds(name)
        return SETUP + self.rows[name]["tensors"] / 100e9 + max(2 * self.mode["row"], CALLS * call)


def library_pairs(rows):
    """{our row: row of the peer}, for what bench_cuda itself holds."""
    pairs = {}
    for name in rows:
        parsed = parse_name(name)
        for backend in LIBRARIES:
            peer = name.replace(f"/{parsed['backend']}/", f"/{backend}/")
            if parsed["backend"] == "cuda" and peer in rows:
                pairs[name] = peer
    return pairs
