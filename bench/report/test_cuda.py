# SPDX-License-Identifier: Apache-2.0
"""Runs on a GPU: goals, lanes and tables of the page, the driver with a bench_cuda that only pretends. All numbers here
are made up (ctest: report.cuda)."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from smx_bench import cuda, goals, gpu, names, page, units  # noqa: E402
from smx_bench import results as files  # noqa: E402

GEMM = 2 * 8192.0**3


def row(name, ms, **more):
    out = {"name": name, "samples_ms": [ms, 1.01 * ms, 0.99 * ms], "D": 768, "flops": 1e9, "bytes": 1e6, "workspace": 0}
    return {**files.parse_name(name), **out, "tensors": 8, "launches": 2, "launches_counted": 2, **more}


def gpu_results(factor=1.0, **changes):
    """Every goal met with room at factor 1."""
    results = files.Results(machine={"gpu": "Test GPU", "cpu": "Test CPU", "capability": "9.0"})
    rows = [
        row("copy/device/forward/cuda/L:1073741824", 2, bytes=8 * 2.0**30, D=1),
        row("gemm/cublas/forward/cuda/L:8192", GEMM / 50e12 * 1e3, flops=GEMM, D=8192),
        row("gemm/cublas/forward/cuda-bf16/L:8192", GEMM / 800e12 * 1e3, flops=GEMM, D=8192),
        row("gemm/cublas-batch-256/forward/cuda/L:256", 0.5, flops=25.8e9),
        row("dense/full/forward/cuda/L:65536", 130, flops=6.6e12),
        row("monarch/order-2/forward/cuda/L:65536", 1.2 * factor, flops=51.5e9),
        row("monarch/order-2/forward/cuda-recipe/L:65536", 2.0, flops=51.5e9, workspace=2**20),
        row("attention/causal/forward/cuda/L:2048", 1),
        row("attention/causal/forward/cuda/L:4096", 4),
        row("attention/full/forward/cuda-bf16/L:8192", 1 * factor, flops=600e9),
        row("attention/full-d128/forward/cuda-bf16/L:8192", 1 * factor, flops=500e9),
        row("ssd/heads-24/forward/cuda/L:2048", 0.5 * factor, D=1536),
        row("ssd/heads-24/forward/cuda-recipe/L:2048", 1, D=1536),
        row("ssd/heads-24/forward/cuda/L:4096", 0.9 * factor, D=1536),
        row("ssd/heads-24/forward/cuda-recipe/L:4096", 2, D=1536),
        row("ssd/heads-24/step/cuda/L:4096", 0.01, tokens=1, D=1536),
    ]
    for length in (1024, 32768, 65536, 1048576):
        name = f"long_convolution/causal/forward/cuda/L:{length}"
        rows.append(row(name, factor))
        results.add_pair(files.pair(name, length, "cuFFT", [factor], [2.5], "r2c, c2r"))
    for r in rows:
        results.add_row({**r, **changes.get(r["mixer"], {})})
    return results


class Goals(unittest.TestCase):
    def states(self, results):
        return [g.state for g in goals.goals(results)]

    def test_all_met(self):
        self.assertEqual(set(self.states(gpu_results())), {goals.MET})

    def test_all_missed_but_the_launches_when_ours_is_ten_times_slower(self):
        self.assertEqual(self.states(gpu_results(10.0)), [goals.MISSED] * 8 + [goals.MET])

    def test_nothing_measured_is_open_not_met(self):
        self.assertEqual(set(self.states(files.Results())), {goals.OPEN})

    def test_numbers(self):
        found = goals.goals(gpu_results())
        self.assertEqual(found[0].measured, "108.3×")  # 130 / 1.2
        self.assertEqual(found[1].measured, "83 %")  # (51.5 / 1.2) / (25.8 / 0.5)
        self.assertEqual(found[4].measured, "75 %")  # 600 / 800 TFLOP/s
        self.assertEqual(found[6].measured, "50 %")  # the largest share counts, not the smallest
        self.assertIn("L = 2,048", found[6].detail)
        self.assertEqual(found[7].measured, "2.00×")

    def test_the_worst_length_counts(self):
        results = gpu_results()
        name = "long_convolution/causal/forward/cuda/L:32768"
        results.add_pair(files.pair(name, 32768, "cuFFT", [1.0], [1.9]))
        goal = goals.goals(results)[2]
        self.assertEqual((goal.state, goal.measured), (goals.MISSED, "1.90×"))
        self.assertIn("L = 32,768", goal.detail)

    def test_a_launch_more_than_planned_is_found_and_named(self):
        results = gpu_results(ssd={"launches_counted": 3})
        goal = goals.goals(results)[-1]
        self.assertEqual(goal.state, goals.MISSED)
        self.assertIn("ssd/heads-24/forward/cuda/L:2048", goal.detail)

    def test_text_has_a_line_a_goal(self):
        found = goals.goals(gpu_results())
        self.assertEqual(len(goals.text(found).splitlines()), len(found))


class Rows(unittest.TestCase):
    def test_operands_and_products(self):
        self.assertEqual(gpu.operands("cuda"), "f32")
        self.assertEqual(gpu.operands("cuda-recipe"), "f32")
        self.assertEqual(gpu.operands("cuda-recipe-bf16"), "bf16")
        self.assertTrue(gpu.is_gpu("cuda-tf32") and not gpu.is_gpu("cpu"))
        results = gpu_results()
        self.assertAlmostEqual(gpu.product_rate(results, "cuda-recipe"), 50e3)
        self.assertAlmostEqual(gpu.product_rate(results, "cuda-bf16"), 800e3)
        self.assertIsNone(gpu.product_rate(results, "cuda-f16"))  # not the rate of another precision
        self.assertAlmostEqual(gpu.copy_rate(results), 8 * 2**30 / 2e-3 * 1e-9)

    def test_words(self):
        self.assertEqual(gpu.words({"gpu": "NVIDIA H200"}, "cuda"), "H200")
        self.assertEqual(gpu.words({"gpu": "NVIDIA H200"}, "cuda-recipe-bf16"), "H200, recipes, bf16")
        self.assertEqual([units.power(2**e) for e in (9, 10, 16, 20)], ["512", "1K", "64K", "1M"])

    def test_a_step_is_a_token(self):
        answer = {
            "name": "ssd/heads-24/step/cuda/L:4096",
            "samples_ms": [1.6, 3.2, 1.6],
            "D": 8,
            "tokens": 16,
            "flops": 32,
            "bytes": 64,
            "launches": 48,
            "launches_counted": 48,
            "graph_nodes": 48,
            "direct_ms": 0,
            "workspace": 5,
            "tensors": 6,
            "sets": 1,
            "note": "",
        }
        found = files.finish(cuda.row_from(answer))
        self.assertAlmostEqual(found["ms"], 0.1)
        self.assertAlmostEqual(found["tokens/s"], 1e4)  # one token in 0.1 ms, not 4096
        self.assertAlmostEqual(found["launches"], 3)
        forward = cuda.row_from({**answer, "name": "ssd/heads-24/forward/cuda/L:4096", "tokens": 4096})
        self.assertAlmostEqual(files.finish(forward)["tokens/s"], 4096 / 1.6e-3)

    def test_rows_survive_saving(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results.json")
            first = gpu_results()
            first.save(path)
            self.assertEqual(json.loads(first.as_json()), json.loads(files.load(path).as_json()))

    def test_causal_by_nature(self):
        self.assertEqual(names.rival_variant("heads-24", {"full", "causal"}, "ssd"), "causal")
        self.assertEqual(names.rival_variant("order-2", {"full", "causal"}, "monarch"), "full")

    def test_peers_of_the_same_program(self):
        rows = [
            "long_convolution/causal/forward/cuda/L:8",
            "long_convolution/causal/forward/cufft/L:8",
            "long_convolution/causal/forward/cuda-recipe/L:8",
            "monarch/order-2/forward/cuda/L:8",
        ]
        self.assertEqual(cuda.library_pairs(rows), {rows[0]: rows[1]})


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = page.render(gpu_results())

    def says(self, words):
        self.assertTrue(words in self.text, f"the page does not say {words!r}")

    def test_title_and_device(self):
        self.says("<h1>smx on Test GPU</h1>")
        self.says("compute capability 9.0")

    def test_lanes_are_tabs(self):
        for words in ("forward, Test GPU", "forward, Test GPU, bf16", "forward, Test GPU, recipes"):
            self.says(f">{words}</button>")
        self.says(">step, Test GPU</button>")

    def test_ids_are_unique(self):
        ids = re.findall(r'\bid="([^"]+)"', self.text)
        self.assertEqual(len(ids), len(set(ids)))

    def test_shares_of_product_and_copy(self):
        self.says("100 % = 50,000 GFLOP/s")
        self.says("100 % = 4,295 GB/s")

    def test_goals_kernels_and_launches(self):
        self.says("Goals of the CUDA backend")
        self.assertEqual(self.text.count('<td class="good left">met</td>'), 9)
        self.says("Kernels beside their recipes")
        self.says("cuFFT")
        self.says("ssd, heads 24, D = 1,536")

    def test_cpu_rows_stand_beside_them(self):
        results = gpu_results()
        for n in (2048, 4096):
            results.add_row(row(f"attention/causal/forward/cpu:1/L:{n}", 100.0 * n))
        curves = page.Page(results)
        found = curves.curve("attention", "causal", "forward", ("cuda", 1))
        self.assertEqual([(r["backend"], r["L"]) for r in found], [("cuda", 2048), ("cuda", 4096)])
        self.assertEqual(curves.lanes[:3], [("cpu", 1), ("cuda", 1), ("cuda-bf16", 1)])
        text = page.render(results)
        self.assertIn(">forward, CPU, 1 thread</button>", text)
        self.assertIn("Google Benchmark", text)
        self.assertNotIn("Google Benchmark", self.text)

    def test_cpu_pages_say_nothing_of_gpus(self):
        results = files.Results()
        for n in (2048, 4096):
            results.add_row(row(f"attention/causal/forward/cpu:1/L:{n}", 100.0 * n))
        text = page.render(results)
        for words in ("GPU", "CUDA", "Launches"):
            self.assertNotIn(words, text)


PRETEND = r"""#!@PYTHON@
import json, sys, time
rows = {r["name"]: r for r in @ROWS@}
if sys.argv[1] == "--device":
    print(json.dumps(dict(gpu="Test GPU", capability="9.0", multiprocessors=1, l2_bytes=1, gpu_memory=2**34, gpu_free=2**34,
                          cuda_driver="1", cuda_runtime="1", compiler="pretend", flags="")))
elif sys.argv[1] == "--plan":
    for r in rows.values():
        print(json.dumps(r))
else:
    for line in sys.stdin:
        name, seconds = line.split()
        if "slow" in name:
            time.sleep(30)
        if "dies" in name:
            sys.exit("a last word")
        answer = dict(rows[name], samples_ms=[1.0, 2.0, 3.0], launches_counted=1, graph_nodes=1, direct_ms=0, sets=1, note="n")
        if "breaks" in name:
            answer = dict(error="lost device", fatal=True)
        print(json.dumps(answer), flush=True)
        if "breaks" in name:
            sys.exit(1)
"""


def planned(name, flops=1e9, memory=100):
    length = int(name.rsplit(":", 1)[1])
    sizes = {"flops": flops, "bytes": 1, "workspace": memory, "tensors": 0, "launches": 1}
    return {"name": name, "L": length, "D": 768, "tokens": length, **sizes}


class Driving(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder, self.out = folder.name, os.path.join(folder.name, "out")

    def command(self, rows, *more):
        path = os.path.join(self.folder, "bench_cuda")
        with open(path, "w", encoding="utf-8") as f:
            f.write(PRETEND.replace("@PYTHON@", sys.executable).replace("@ROWS@", repr(rows)))
        os.chmod(path, 0o755)
        return [sys.executable, os.path.join(HERE, "run_cuda.py"), "--bin", self.folder, "--out", self.out, *more]

    def drive(self, rows, *more):
        return subprocess.run(self.command(rows, *more), capture_output=True, text=True, timeout=100)

    def results(self):
        return files.load(os.path.join(self.out, "results.json"))

    def test_what_fails_is_listed_and_stops_nothing(self):
        run = self.drive(
            [
                planned("a/breaks/forward/cuda/L:8", 1),
                planned("a/dies/forward/cuda/L:8", 2),
                planned("a/x/forward/cuda/L:8", 3),
                planned("a/large/forward/cuda/L:8", 4, 2**40),
                planned("a/late/forward/cuda/L:8", 1e18),
            ],
            "--no-peers",
        )
        self.assertEqual(run.returncode, 1)
        self.assertIn("a/breaks/forward/cuda/L:8 failed: lost device", run.stderr)
        self.assertNotIn("a/large", run.stderr)
        found = self.results()
        self.assertEqual(list(found.rows), ["a/x/forward/cuda/L:8"])
        reasons = {name.split("/")[1]: s["reason"] for name, s in found.skipped.items()}
        self.assertEqual(reasons["breaks"], "lost device")
        self.assertIn("a last word", reasons["dies"])
        self.assertIn("GiB are free", reasons["large"])
        self.assertIn("predicted", reasons["late"])
        self.assertTrue(os.path.exists(os.path.join(self.out, "index.html")))
        self.assertEqual(found.about["machine"]["gpu"], "Test GPU")

    def test_a_peer_is_timed_between_two_of_ours(self):
        self.drive(
            [
                planned("long_convolution/causal/forward/cuda/L:1024"),
                planned("long_convolution/causal/forward/cufft/L:1024"),
                planned("monarch/order-2/forward/cuda/L:1024"),
                planned("dense/full/forward/cuda/L:1024"),
            ],
            "--torch",
            sys.executable,
        )
        found = self.results()
        self.assertEqual(len(found.rows["long_convolution/causal/forward/cuda/L:1024"]["samples_ms"]), 6)
        self.assertEqual(
            sorted(found.peers),
            [
                ("long_convolution/causal/forward/cuda/L:1024", "cuFFT"),
                ("monarch/order-2/forward/cuda/L:1024", "cuBLAS"),
            ],
        )
        self.assertNotIn("long_convolution/causal/forward/cufft/L:1024", found.rows)

    def test_filter(self):
        rows = [planned("a/x/forward/cuda/L:8"), planned("b/x/forward/cuda/L:8")]
        self.drive(rows, "--no-peers", "--filter", "^b/")
        self.assertEqual(list(self.results().rows), ["b/x/forward/cuda/L:8"])
        run = self.drive(rows, "--filter", "(")
        self.assertEqual(run.returncode, 2)
        self.assertIn("not a regular expression", run.stderr)
        self.assertEqual(self.drive(rows, "--no-peers", "--filter", "^c").returncode, 1)

    def test_an_interrupted_run_keeps_what_it_has(self):
        rows = [planned("a/x/forward/cuda/L:8", 1), planned("a/slow/forward/cuda/L:8", 1e9)]
        run = subprocess.Popen(
            self.command(rows, "--no-peers"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(300):
            if os.path.exists(os.path.join(self.out, "results.json")):
                break
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        _, err = run.communicate(timeout=60)
        self.assertEqual((run.returncode, err), (130, ""))
        found = self.results()
        self.assertEqual(list(found.rows), ["a/x/forward/cuda/L:8"])
        self.assertIn("interrupted", found.about["partial"])

    def test_no_program_and_no_gpu_are_one_line(self):
        run = subprocess.run(
            [sys.executable, os.path.join(HERE, "run_cuda.py"), "--bin", self.folder, "--out", self.out],
            capture_output=True,
            text=True,
            timeout=100,
        )
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stderr.count("\n"), 1)
        self.assertIn("bench_cuda", run.stderr)

    def test_goals_come_first_then_the_cheap(self):
        rows = [
            planned("b/x/forward/cuda/L:8", 5e9),
            planned("b/y/forward/cuda/L:8", 1e3),
            planned("monarch/order-2/forward/cuda/L:65536", 1e12),
            planned("gemm/cublas/forward/cuda/L:8192", 1e12),
            planned("long_convolution/causal/forward/cufft/L:1024"),
        ]
        take, _ = cuda.Schedule("default", {r["name"]: r for r in rows}, 2**40).order(re.compile(""))
        self.assertEqual([n.split("/")[0] + "/" + n.split("/")[1] for n in take],
                         ["gemm/cublas", "monarch/order-2", "b/y", "b/x"])
        quick, _ = cuda.Schedule("quick", {r["name"]: r for r in rows}, 2**40).order(re.compile(""))
        self.assertEqual(len(quick), 2)


if __name__ == "__main__":
    unittest.main()
