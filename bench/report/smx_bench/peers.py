# SPDX-License-Identifier: Apache-2.0
"""Other libraries on the same shapes: interleaved with our rows, round after round, one thread each."""

import json
import os
import subprocess
import time

from .results import ReportError, pair

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # bench/
TORCH, SLABS, FFTW, MODELS = "torch", "torch in slabs", "FFTW", "transformers"

# (our row, L, peer, task): the pairs that docs/performance.md reports. torch is what one writes with whole tensors; torch
# in slabs is a loop over a few channels or tokens at a time, which keeps what lies between its calls in cache;
# transformers are Hugging Face's models on torch. M2-BERT stands against the BERT that it is to replace.
PAIRS = [("sgemm/smx/forward/cpu:1/L:2048", 2048, TORCH, "sgemm")]


def _whole_and_slabs(row, lengths, task):
    return [
        (f"{row}/forward/cpu:1/L:{n}", n, peer, t)
        for n in lengths
        for peer, t in ((TORCH, task), (SLABS, f"{task}_slabs"))
    ]


PAIRS += _whole_and_slabs("monarch/order-2", (1024, 4096, 16384), "monarch")
PAIRS += _whole_and_slabs("monarch/channels", (4096,), "monarch_channels")
PAIRS += _whole_and_slabs("long_convolution/causal", (1024, 4096, 16384), "convolution")
PAIRS += _whole_and_slabs(
    "long_convolution/causal-channel-major", (4096, 8192, 32768), "convolution_channel_major"
)
PAIRS += [
    (f"long_convolution/causal-channel-major/forward/cpu:1/L:{n}", n, FFTW, "convolution_channel_major")
    for n in (4096, 8192, 32768)
]
PAIRS += [(f"attention/full/forward/cpu:1/L:{n}", n, TORCH, "attention") for n in (1024, 4096, 8192)]
PAIRS += [("attention/causal/forward/cpu:1/L:4096", 4096, TORCH, "attention_causal")]
PAIRS += [("minilm/embed/forward/cpu:1/L:24", 24, MODELS, "minilm")]
PAIRS += [
    (f"{model}/encode/forward/cpu:1/L:{n}", n, MODELS, "bert_base")
    for model, lengths in (("bert_base", (128, 512)), ("m2_bert_80m", (128, 512, 1024, 2048, 4096, 8192)))
    for n in lengths
]
QUICK_LENGTHS = (1024, 2048, 4096)
QUICK_MODELS, DEFAULT_MODELS = 128, 2048  # the longest L; at 8192 one call of BERT-base takes most of a minute
LONG_PAIR, LONGEST_PAIR = 15.0, 75.0  # seconds
CHANNELS = 768


def pairs(mode):
    """Those of PAIRS that a mode times."""
    if mode == "full":
        return PAIRS
    if mode == "default":
        return [p for p in PAIRS if p[2] != MODELS or p[1] <= DEFAULT_MODELS]
    return [
        p
        for p in PAIRS
        if (p[1] <= QUICK_MODELS if p[2] == MODELS else p[1] in QUICK_LENGTHS and p[2] != SLABS)
    ]


class Worker:
    """A process that answers a line with a line."""

    def __init__(self, command, environment=None):
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        except OSError as e:
            raise ReportError(f"{command[0]}: {e.strerror}") from e

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            error = self.process.stderr.read().strip().splitlines()
            raise ReportError(error[-1] if error else "the peer ended without an answer")
        return line.strip()

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says why
        return self.answer()

    def close(self):
        self.process.kill()
        self.process.wait()


class Torch:
    """bench/peers/torch_worker.py in the virtual environment."""

    def __init__(self, python):
        self.worker = Worker(
            [python, os.path.join(ROOT, "peers", "torch_worker.py")],
            {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        self.name = self._said(self.worker.answer())["library"]

    @staticmethod
    def _said(line):
        said = json.loads(line)
        if "error" in said:
            raise ReportError(f"torch: {said['error']}")
        return said

    def prepare(self, task, length):
        said = self._said(self.worker.ask(json.dumps({"prepare": task, "L": length, "D": CHANNELS})))
        self.name = said["library"] + (" in slabs" if task.endswith("_slabs") else "")
        return said["formulation"]

    def time(self, seconds):
        return self._said(self.worker.ask(json.dumps({"time": seconds})))["ms"]

    def close(self):
        self.worker.close()


class Fftw:
    """The fftw_convolution binary; a process a length."""

    def __init__(self, folder):
        self.path, self.worker, self.name = os.path.join(folder, "fftw_convolution"), None, "FFTW"
        if not os.access(self.path, os.X_OK):
            raise ReportError("fftw_convolution was not built (libfftw3-dev)")

    def prepare(self, task, length):
        self.close()
        self.worker = Worker([self.path, str(length), str(CHANNELS)])
        version, formulation = self.worker.answer().split("; ", 1)
        self.name = version.replace("fftw-", "FFTW ")
        return formulation

    def time(self, seconds):
        return float(self.worker.ask(f"{seconds}"))

    def close(self):
        if self.worker:
            self.worker.close()
            self.worker = None


def goes_on(rounds, taken):
    """Whether a pair of so many rounds, which took so many seconds, has another."""
    return rounds < 2 or taken < (LONGEST_PAIR if rounds == 2 else LONG_PAIR)


def measure(binaries, ours, length, peer, task, rounds, seconds):
    """One pair: up to `rounds` rounds; from the third on only while they have taken less than LONG_PAIR seconds, and
    no third one after LONGEST_PAIR. Returns (pair, Google Benchmark documents of our rounds)."""
    formulation = peer.prepare(task, length)
    our_ms, peer_ms, documents = [], [], []
    start = time.monotonic()
    while len(our_ms) < rounds and goes_on(len(our_ms), time.monotonic() - start):
        document = binaries.run(ours, 1, seconds)
        entry = document["benchmarks"][0]
        if entry.get("error_occurred"):
            raise ReportError(f"{ours}: {entry.get('error_message')}")
        documents.append(document)
        our_ms.append(entry["real_time"])  # every row reports milliseconds
        peer_ms.append(peer.time(seconds))
    return pair(ours, length, peer.name, our_ms, peer_ms, formulation), documents
