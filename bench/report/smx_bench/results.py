# SPDX-License-Identifier: Apache-2.0
"""results.json: what one run measured. Reading Google Benchmark JSON, merging repetitions, writing atomically.

A results file is one object: schema, date, commit, machine, compiler, command, rows, peers, skipped. Times are
milliseconds; `ms` is the median of `samples_ms`, the repetitions. `ratio` of a peer pair is peer_ms / ours_ms:
above 1, ours is faster.
"""

import json
import math
import os
import statistics

SCHEMA = 1
TO_MS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
CLOCK_SUFFIXES = ("real_time", "manual_time", "process_time")
NAME_FORM = "mixer/variant/pass/backend:threads/L:N"


class ReportError(Exception):
    """A file or an option that cannot be used; the message says which and why."""


def read_json(path):
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except OSError as e:
        raise ReportError(f"{path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise ReportError(f"{path}: not a text file") from e
    if not text.strip():
        raise ReportError(f"{path}: empty file, expected JSON")
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        raise ReportError(f"{path}: line {e.lineno}: not valid JSON: {e.msg}") from e


def write_atomically(path, text):
    """Writes beside, then renames: whoever reads `path` sees the old or the new text, never half of one."""
    beside = f"{path}.{os.getpid()}.part"
    try:
        with open(beside, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(beside, path)
    except OSError as e:
        raise ReportError(f"{path}: {e.strerror}") from e
    finally:
        if os.path.exists(beside):
            os.unlink(beside)


def parse_name(name):
    """'monarch/order2/forward/cpu:1/L:4096' as a dict; None when the name is of another form."""
    parts = name.split("/")
    while parts and parts[-1] in CLOCK_SUFFIXES:
        parts.pop()
    if len(parts) != 5 or not all(parts):
        return None
    mixer, variant, which, backend, length = parts
    backend, colon, threads = backend.partition(":")
    key, _, number = length.partition(":")
    if not backend or key != "L" or not number.isdecimal() or (colon and not threads.isdecimal()):
        return None
    return {
        "name": "/".join(parts),
        "mixer": mixer,
        "variant": variant,
        "pass": which,
        "backend": backend,
        "threads": int(threads) if colon else 1,
        "L": int(number),
    }


def _number(value):
    return (
        value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        else None
    )


def _from_google_benchmark(data, where):
    """(rows, context, problems) of one Google Benchmark document. Aggregates are recomputed, not read."""
    entries = data["benchmarks"]
    if not isinstance(entries, list):
        raise ReportError(f"{where}: benchmarks: expected a list, got {type(entries).__name__}")
    rows, problems = {}, []
    for at, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ReportError(f"{where}: benchmarks[{at}]: expected an object with a name")
        if entry.get("run_type", "iteration") != "iteration":
            continue
        label = entry.get("run_name", entry["name"])
        row = parse_name(label)
        if row is None:
            problems.append({"name": label, "reason": f"the name is not of the form {NAME_FORM}"})
            continue
        if entry.get("error_occurred"):
            problems.append({"name": row["name"], "reason": str(entry.get("error_message", "failed"))})
            continue
        time, unit = _number(entry.get("real_time")), TO_MS.get(entry.get("time_unit", "ns"))
        if time is None or unit is None or time <= 0:
            raise ReportError(
                f"{where}: {row['name']}: real_time: expected a positive number with a unit, "
                f"got {entry.get('real_time')!r} {entry.get('time_unit')!r}"
            )
        row = rows.setdefault(row["name"], row)
        row.setdefault("samples_ms", []).append(time * unit)
        for counter in ("D", "batch", "threads", "flops", "bytes", "workspace", "tensors"):
            value = _number(entry.get(counter))
            if (
                counter in entry
                and value is not None
                and not (counter == "threads" and ":" in label.split("/")[3])
            ):
                row[counter] = int(value) if float(value).is_integer() else value
    return list(rows.values()), data.get("context", {}), problems


def finish(row):
    """Fills what follows from the samples and the counters."""
    samples = row["samples_ms"]
    row["ms"] = statistics.median(samples)
    row["spread_ms"] = [min(samples), max(samples)]
    seconds = row["ms"] * 1e-3
    row.setdefault("batch", 1)
    for counter in ("D", "flops", "bytes", "workspace", "tensors"):
        row.setdefault(counter, None)
    row["tokens/s"] = row.get("tokens", row["L"]) * row["batch"] / seconds
    row["GFLOP/s"] = row["flops"] / seconds * 1e-9 if row["flops"] else None
    return row


def pair(name, length, peer, ours_samples, peer_samples, note=""):
    """One row of the peer table from interleaved samples, in ms."""
    ours, theirs = statistics.median(ours_samples), statistics.median(peer_samples)
    return {
        "name": name,
        "L": length,
        "ours_ms": ours,
        "peer": peer,
        "peer_ms": theirs,
        "ratio": theirs / ours,
        "ours_samples_ms": list(ours_samples),
        "peer_samples_ms": list(peer_samples),
        "note": note,
    }


class Results:
    """Everything one run measured."""

    def __init__(self, **about):
        self.about = {
            "schema": SCHEMA,
            "date": None,
            "commit": None,
            "command": None,
            "machine": {},
            "compiler": {},
        }
        self.about.update(about)
        self.rows, self.peers, self.skipped = {}, {}, {}

    def add_row(self, row):
        """Adds a row, or its samples to the row of the same name."""
        known = self.rows.get(row["name"])
        if known is not None:
            known["samples_ms"] = known["samples_ms"] + row["samples_ms"]
            row = known
        self.rows[row["name"]] = finish(row)
        self.skipped.pop(row["name"], None)

    def add_pair(self, peer):
        self.peers[peer["name"], peer["peer"]] = peer

    def skip(self, name, reason):
        if name not in self.rows:
            self.skipped[name] = {"name": name, "reason": reason}

    def add_google_benchmark(self, data, where):
        if not isinstance(data, dict) or "benchmarks" not in data:
            raise ReportError(f"{where}: expected an object with 'benchmarks', as Google Benchmark writes it")
        rows, context, problems = _from_google_benchmark(data, where)
        for row in rows:
            self.add_row(row)
        for problem in problems:
            self.skip(problem["name"], problem["reason"])
        if isinstance(context, dict):
            for key in ("compiler", "flags", "eigen", "blas"):
                if context.get(key):
                    self.about["compiler"][key] = context[key]
        return rows

    def add_results(self, data, where):
        """A results.json that this class wrote."""
        if data.get("schema") != SCHEMA:
            raise ReportError(f"{where}: schema: expected {SCHEMA}, got {data.get('schema')!r}")
        for key in ("rows", "peers", "skipped"):
            if not isinstance(data.get(key, []), list):
                raise ReportError(f"{where}: {key}: expected a list")
        for at, row in enumerate(data.get("rows", [])):
            samples = row.get("samples_ms") if isinstance(row, dict) else None
            if not isinstance(samples, list) or not samples or any((_number(s) or 0) <= 0 for s in samples):
                raise ReportError(f"{where}: rows[{at}]: samples_ms: expected a list of positive numbers")
            if parse_name(str(row.get("name"))) is None:
                raise ReportError(f"{where}: rows[{at}]: name: expected {NAME_FORM}, got {row.get('name')!r}")
            self.add_row({**parse_name(row["name"]), **row})
        for at, peer in enumerate(data.get("peers", [])):
            numbers = isinstance(peer, dict) and all(
                (_number(peer.get(k)) or 0) > 0 for k in ("ours_ms", "peer_ms")
            )
            if not numbers or not isinstance(peer.get("name"), str) or not isinstance(peer.get("peer"), str):
                raise ReportError(f"{where}: peers[{at}]: expected name, peer, ours_ms and peer_ms")
            self.add_pair({"note": "", "L": None, **peer, "ratio": peer["peer_ms"] / peer["ours_ms"]})
        for item in data.get("skipped", []):
            if isinstance(item, dict) and "name" in item:
                self.skip(item["name"], str(item.get("reason", "")))
        for key in (*self.about, "partial", "peer_versions", "others_cores"):
            if data.get(key):
                self.about[key] = data[key]

    def add_file(self, path):
        data = read_json(path)
        if isinstance(data, dict) and "benchmarks" in data:
            self.add_google_benchmark(data, path)
        elif isinstance(data, dict) and "schema" in data:
            self.add_results(data, path)
        else:
            raise ReportError(
                f"{path}: neither Google Benchmark JSON ('benchmarks') nor a results.json ('schema')"
            )

    def select(self, **want):
        """The rows whose fields equal those given, by length."""
        found = [r for r in self.rows.values() if all(r.get(k) == v for k, v in want.items())]
        return sorted(found, key=lambda r: (r["mixer"], r["variant"], r["L"]))

    def as_json(self):
        document = dict(self.about)
        document["rows"] = list(self.rows.values())
        document["peers"] = list(self.peers.values())
        document["skipped"] = list(self.skipped.values())
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    def save(self, path):
        write_atomically(path, self.as_json())


def load(path):
    results = Results()
    results.add_file(path)
    return results
