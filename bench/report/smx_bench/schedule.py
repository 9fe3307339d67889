# SPDX-License-Identifier: Apache-2.0
"""Which rows run, how often, and in which order, so that a run keeps its time.

Cheap rows first: whatever ends the run, the clock or Ctrl-C, the short lengths of every mixer are there, and neighbours
in time are neighbours in a chart. What a row will cost is predicted from its planned flops and the rate of the
nearest shorter row of the same curve; a row whose prediction does not fit is listed with the reason. Whole models
run at few lengths, so that the time stays the mixers'.
"""

from . import names
from .results import parse_name

MODES = {  # seconds in all, most seconds for one row, rounds, repetitions, seconds of one repetition, lengths, of models
    "quick": {
        "budget": 45,
        "row": 3.0,
        "rounds": 1,
        "repetitions": 3,
        "min_time": 0.02,
        "lengths": {128, 512, 2048, 8192},
        "models": {24},
    },
    "default": {
        "budget": 550,
        "row": 12.0,
        "rounds": 3,
        "repetitions": 3,
        "min_time": 0.05,
        "lengths": None,
        "models": {24, 128, 512},
    },
    "full": {
        "budget": float("inf"),
        "row": float("inf"),
        "rounds": 3,
        "repetitions": 5,
        "min_time": 0.2,
        "lengths": None,
        "models": None,
    },
}
FIRST_GUESS = 20e9  # flop/s of a curve of which nothing is known, before the yardstick has run
GUESSED_SHARE = 0.2  # of the yardstick's rate, after
FILL_RATE = 0.4e9  # bytes/s at which inputs are made
START = 0.05  # seconds to start a process
MEMORY_SHARE = 0.8  # of what the system says is available


class Schedule:
    def __init__(self, mode, planned, memory_bytes):
        self.mode, self.planned, self.memory = MODES[mode], planned, memory_bytes
        self.rates = {}  # curve -> {L: flop/s}

    @staticmethod
    def curve(name):
        p = parse_name(name)
        return p["mixer"], p["variant"], p["pass"], p["threads"]

    def first_round(self):
        """(names, {name: reason why it does not run}); yardsticks come first, in every mode."""
        take, skip = [], {}
        for name, row in self.planned.items():
            mixer = parse_name(name)["mixer"]
            lengths = self.mode["models" if mixer in names.MODELS else "lengths"]
            need = row["workspace"] + row["tensors"]
            if lengths is not None and row["L"] not in lengths and mixer not in names.YARDSTICKS:
                continue  # this mode does not promise that length
            if need > MEMORY_SHARE * self.memory:
                skip[name] = f"needs {need / 2**30:.1f} GiB, {self.memory / 2**30:.1f} GiB are available"
            else:
                take.append(name)
        take.sort(key=lambda n: (parse_name(n)["mixer"] not in names.YARDSTICKS, self.planned[n]["flops"]))
        return take, skip

    def learn(self, name, ms):
        row = self.planned[name]
        if row["flops"]:
            self.rates.setdefault(self.curve(name), {})[row["L"]] = row["flops"] / (ms * 1e-3)

    def call_seconds(self, name):
        """What one call is predicted to take."""
        row = self.planned[name]
        known = self.rates.get(self.curve(name))
        if not known:
            sgemm = [r for curve, rates in self.rates.items() if curve[0] == "sgemm" for r in rates.values()]
            return row["flops"] / (GUESSED_SHARE * max(sgemm) if sgemm else FIRST_GUESS)
        nearest = min(known, key=lambda n: abs(n - row["L"]))
        return row["flops"] / known[nearest]

    def refusal(self, name, price, left):
        """Why a row of that price does not run with `left` seconds to go; None if it does. Yardsticks always run."""
        if parse_name(name)["mixer"] in names.YARDSTICKS:
            return None
        if price > self.mode["row"]:
            return f"predicted {price:.0f} s, more than the {self.mode['row']:g} s that this mode gives a row (--full runs it)"
        if price > left:
            return (
                f"predicted {price:.0f} s, {max(left, 0):.0f} s were left of the run's time (--full runs it)"
            )
        return None

    def price(self, name):
        """(seconds the row will take, repetitions). At least two, so that there is a spread."""
        call = self.call_seconds(name)
        repetitions = self.mode["repetitions"] if call < 0.3 else 2
        setup = START + self.planned[name]["tensors"] / FILL_RATE
        # The warm-up, the calls that find the iteration count, the repetitions.
        return setup + call + (repetitions + 1) * max(self.mode["min_time"], call), repetitions
