# SPDX-License-Identifier: Apache-2.0
"""The driver, with binaries that only pretend: python3 -m unittest test_run (ctest: report.run)."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from smx_bench import binary, peers, results as files  # noqa: E402
from smx_bench.schedule import MODES, Schedule  # noqa: E402

PRETEND = r"""#!@PYTHON@
import json, os, re, sys, time
rows = @ROWS@
if "--plan" in sys.argv:
    for name, seconds in rows.items():
        length = int(name.rsplit(":", 1)[1])
        print(json.dumps(dict(name=name, L=length, D=768, flops=min(seconds, 0.01) * 1e9, bytes=1, workspace=10, tensors=20)))
    sys.exit()
options = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
for name, seconds in rows.items():
    if re.search(options["--benchmark_filter"], name + "/real_time"):
        if "broken" in name:
            sys.exit("cannot run " + name)
        time.sleep(seconds)
        one = dict(name=name + "/real_time", run_name=name + "/real_time", run_type="iteration", real_time=seconds * 1e3,
                   time_unit="ms", D=768.0, flops=seconds * 1e9, bytes=1.0, workspace=10.0, tensors=20.0)
        if "nomemory" in name:
            one.update(error_occurred=True, error_message="out of memory: 7 bytes of host memory asked for")
        print(json.dumps(dict(context=dict(compiler="pretend 1"), benchmarks=[one] * int(options["--benchmark_repetitions"]))))
"""


def plan(flops, length, memory=100):
    return {"flops": flops, "L": length, "bytes": 1, "workspace": memory, "tensors": 0}


class Scheduling(unittest.TestCase):
    def rows(self):
        return {
            "sgemm/smx/forward/cpu:1/L:2048": plan(17e9, 2048),
            "a/x/forward/cpu:1/L:128": plan(1e6, 128),
            "a/x/forward/cpu:1/L:1000": plan(60e6, 1000),
            "a/x/forward/cpu:1/L:8192": plan(4e9, 8192),
            "a/x/forward/cpu:1/L:16384": plan(1e15, 16384),
            "b/x/forward/cpu:1/L:128": plan(2e6, 128, memory=10**12),
        }

    def test_yardsticks_first_then_cheap_before_dear(self):
        take, skip = Schedule("default", self.rows(), 10**10).first_round()
        self.assertEqual(
            [n.split("/")[0] + n.rsplit(":")[-1] for n in take],
            ["sgemm2048", "a128", "a1000", "a8192", "a16384"],
        )
        self.assertIn("GiB", skip["b/x/forward/cpu:1/L:128"])

    def test_quick_keeps_its_lengths(self):
        take, skip = Schedule("quick", self.rows(), 10**10).first_round()
        self.assertEqual(len(take), 3)
        self.assertNotIn("a/x/forward/cpu:1/L:1000", skip)

    def test_prices_follow_the_nearest_measured_length(self):
        s = Schedule("default", self.rows(), 10**10)
        s.learn("a/x/forward/cpu:1/L:1000", 60.0)  # 1 GFLOP/s
        s.learn("a/x/forward/cpu:1/L:128", 1000.0)  # short ones say little of long ones
        self.assertAlmostEqual(s.call_seconds("a/x/forward/cpu:1/L:8192"), 4.0)
        price, repetitions = s.price("a/x/forward/cpu:1/L:8192")
        self.assertEqual(repetitions, 2)
        self.assertGreater(price, 12)
        self.assertIn("more than the 12 s", s.refusal("a/x/forward/cpu:1/L:8192", price, 1000))
        self.assertIn("3 s were left", s.refusal("a/x/forward/cpu:1/L:1000", 5, 3))
        self.assertIsNone(s.refusal("a/x/forward/cpu:1/L:1000", 5, 6))
        self.assertIsNone(s.refusal("sgemm/smx/forward/cpu:1/L:2048", 500, 0))

    def test_models_run_at_few_lengths(self):
        rows = {
            f"{mixer}/x/forward/cpu:1/L:{n}": plan(1e6 * n, n)
            for mixer in ("m2_bert_80m", "a")
            for n in (24, 128, 512, 4096)
        }
        for mode, of_models, of_mixers in (
            ("quick", [24], [128, 512]),
            ("default", [24, 128, 512], [24, 128, 512, 4096]),
            ("full", [24, 128, 512, 4096], [24, 128, 512, 4096]),
        ):
            take, skip = Schedule(mode, rows, 10**10).first_round()
            lengths = {m: [rows[n]["L"] for n in take if n.startswith(m + "/")] for m in ("m2_bert_80m", "a")}
            self.assertEqual((lengths, skip), ({"m2_bert_80m": of_models, "a": of_mixers}, {}), mode)

    def test_full_refuses_nothing_but_memory(self):
        s = Schedule("full", self.rows(), 10**10)
        self.assertIsNone(s.refusal("a/x/forward/cpu:1/L:16384", 1e6, MODES["full"]["budget"]))


PRETEND_TORCH = r"""#!@PYTHON@
import json, sys
print(json.dumps(dict(library="torch 2")), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("prepare") == "minilm":
        answer = dict(error="ModuleNotFoundError: No module named 'transformers'")
    elif "prepare" in asked:
        of = "transformers 5 on torch 2" if asked["prepare"] == "bert_base" else "torch 2"
        answer = dict(library=of, formulation=f"{asked['prepare']}, {asked['L']}")
    else:
        answer = dict(ms=30.0)
    print(json.dumps(answer), flush=True)
"""


class Peers(unittest.TestCase):
    def lengths(self, mode, row):
        return sorted({p[1] for p in peers.pairs(mode) if p[0].startswith(row)})

    def test_long_models_are_for_full(self):
        self.assertEqual(self.lengths("full", "m2_bert_80m/"), [128, 512, 1024, 2048, 4096, 8192])
        self.assertEqual(self.lengths("default", "m2_bert_80m/"), [128, 512, 1024, 2048])
        self.assertEqual(self.lengths("quick", "m2_bert_80m/"), [128])
        self.assertEqual(self.lengths("default", "bert_base/"), [128, 512])
        self.assertEqual(self.lengths("quick", "minilm/"), [24])

    def test_mixers_are_timed_at_all_lengths_but_in_quick(self):
        self.assertEqual(self.lengths("default", "attention/full/"), [1024, 4096, 8192])
        self.assertEqual(self.lengths("quick", "attention/full/"), [1024, 4096])
        self.assertNotIn(peers.SLABS, [p[2] for p in peers.pairs("quick")])

    def test_a_long_pair_ends_early(self):
        self.assertTrue(peers.goes_on(1, 1e3))  # one round has no spread
        self.assertTrue(peers.goes_on(2, 60))
        self.assertFalse(peers.goes_on(2, 80))
        self.assertTrue(peers.goes_on(3, 10))
        self.assertFalse(peers.goes_on(3, 20))


class Driving(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.out = folder.name, os.path.join(folder.name, "out")

    def pretend(self, **binaries):
        for name in binary.NAMES:
            path = os.path.join(self.folder, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(
                    PRETEND.replace("@PYTHON@", sys.executable).replace(
                        "@ROWS@", repr(binaries.get(name, {}))
                    )
                )
            os.chmod(path, 0o755)

    def command(self, *more):
        return [
            sys.executable,
            os.path.join(HERE, "run.py"),
            "--bin",
            self.folder,
            "--out",
            self.out,
            "--mode",
            "quick",
            *more,
        ]

    def run_it(self, *more):
        return subprocess.run(self.command(*more), capture_output=True, text=True, timeout=100)

    def results(self):
        with open(os.path.join(self.out, "results.json"), encoding="utf-8") as f:
            return json.load(f)

    def test_a_whole_run(self):
        self.pretend(
            bench_primitives={"sgemm/smx/forward/cpu:1/L:2048": 0.01},
            bench_mixers={
                "monarch/order-2/forward/cpu:1/L:128": 0.001,
                "monarch/order-2/forward/cpu:1/L:512": 0.002,
                "attention/full/forward+backward/cpu:1/L:128": 0.003,
                "odd/nomemory/forward/cpu:1/L:128": 0.001,
                "odd/broken/forward/cpu:1/L:128": 0.001,
            },
        )
        done = self.run_it("--command", "scripts/bench.sh --quick")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("page: " + os.path.join(self.out, "index.html"), done.stdout.splitlines()[-1])
        data = self.results()
        self.assertEqual(len(data["rows"]), 4)
        self.assertEqual(data["command"], "scripts/bench.sh --quick")
        self.assertEqual(data["compiler"], {"compiler": "pretend 1"})
        why = {s["name"].split("/")[1]: s["reason"] for s in data["skipped"]}
        self.assertIn("7 bytes", why["nomemory"])
        self.assertIn("cannot run", why["broken"])

    def test_models_meet_their_peers(self):
        self.pretend(
            bench_mixers={"attention/full/forward/cpu:1/L:1024": 0.001},
            bench_models={
                "m2_bert_80m/encode/forward/cpu:1/L:128": 0.01,
                "m2_bert_80m/encode/forward/cpu:1/L:4096": 0.01,
                "minilm/embed/forward/cpu:1/L:24": 0.001,
            },
        )
        torch = os.path.join(self.folder, "python")
        with open(torch, "w", encoding="utf-8") as f:
            f.write(PRETEND_TORCH.replace("@PYTHON@", sys.executable))
        os.chmod(torch, 0o755)
        done = self.run_it("--peers", torch)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        data = self.results()
        self.assertEqual(
            [(p["name"].split("/")[0], p["L"], p["peer"], p["ratio"], p["note"]) for p in data["peers"]],
            [
                ("attention", 1024, "torch 2", 30.0, "attention, 1024"),
                ("m2_bert_80m", 128, "transformers 5 on torch 2", 3.0, "bert_base, 128"),
            ],
        )
        skipped = {s["name"]: s["reason"] for s in data["skipped"]}
        self.assertIn("No module named", skipped["minilm/embed/forward/cpu:1/L:24 against transformers"])
        self.assertRegex(done.stdout, r"M2-BERT-80M against BERT-base of Hugging Face, L = 128 +2× +3\.00× +met")

    def test_filter_and_its_mistakes(self):
        self.pretend(
            bench_mixers={
                "monarch/order-2/forward/cpu:1/L:128": 0.001,
                "dense/full/forward/cpu:1/L:128": 0.001,
            }
        )
        self.assertEqual(self.run_it("--filter", "^monarch").returncode, 0)
        self.assertEqual([r["mixer"] for r in self.results()["rows"]], ["monarch"])
        none = self.run_it("--filter", "nothing")
        self.assertEqual(none.returncode, 1)
        self.assertIn("no row matches 'nothing'", none.stderr)
        broken = self.run_it("--filter", "(")
        self.assertEqual(broken.returncode, 1)
        self.assertIn("not a regular expression", broken.stderr)
        self.assertEqual(self.run_it("--no-such-option").returncode, 2)
        self.assertEqual(self.run_it("--mode", "lazy").returncode, 2)

    def test_a_broken_old_run_is_refused_before_anything_is_measured(self):
        self.pretend(bench_mixers={"monarch/order-2/forward/cpu:1/L:128": 0.001})
        old = os.path.join(self.folder, "old.json")
        with open(old, "w", encoding="utf-8") as f:
            f.write("{")
        done = self.run_it("--against", old)
        self.assertEqual(done.returncode, 1)
        self.assertIn("old.json: line 1: not valid JSON", done.stderr)
        self.assertFalse(os.path.exists(self.out))

    def test_missing_binaries(self):
        done = self.run_it()
        self.assertEqual(done.returncode, 1)
        self.assertIn("bench_primitives: No such file", done.stderr)

    def test_an_interrupted_run_keeps_what_it_has(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                self.pretend(
                    bench_mixers={
                        "monarch/order-2/forward/cpu:1/L:128": 0.001,
                        "dense/full/forward/cpu:1/L:128": 0.002,
                        "dense/full/forward/cpu:1/L:512": 60,
                    }
                )
                run = subprocess.Popen(
                    self.command("--filter", "."),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
                path = os.path.join(self.out, "results.json")
                end = time.monotonic() + 60
                while time.monotonic() < end:  # until the slow row runs
                    try:
                        if len(self.results()["rows"]) == 2:
                            break
                    except (OSError, json.JSONDecodeError):
                        pass
                    time.sleep(0.05)
                time.sleep(0.3)
                os.killpg(run.pid, number)  # as a terminal does
                out, err = run.communicate(timeout=60)
                self.assertEqual((run.returncode, err), (130, ""))
                self.assertIn("page: ", out)
                self.assertEqual(len(files.load(path).rows), 2)
                with open(os.path.join(self.out, "index.html"), encoding="utf-8") as f:
                    self.assertIn("was interrupted", f.read())
                os.unlink(path)


if __name__ == "__main__":
    unittest.main()
