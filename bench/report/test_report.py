# SPDX-License-Identifier: Apache-2.0
"""The logic of the report: python3 -m unittest test_report (ctest: report.report)."""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import report  # noqa: E402
from smx_bench import compare, goals, machine, models, names, page, units  # noqa: E402
from smx_bench import results as files  # noqa: E402
from smx_bench.crossover import (
    ALWAYS,
    CROSSES,
    LEADS_THEN_LOSES,
    NEVER,
    NO_DATA,
    crossover,
    describe,
)  # noqa: E402


def entry(name, time, unit="ms", **more):
    return {
        "name": name,
        "run_name": name,
        "run_type": "iteration",
        "real_time": time,
        "cpu_time": time,
        "time_unit": unit,
        **more,
    }


def document(*entries, **context):
    return {"context": context, "benchmarks": list(entries)}


def curve(points, spread=0.0):
    return [{"L": n, "ms": t, "spread_ms": [t * (1 - spread), t * (1 + spread)]} for n, t in points]


def sample_results(factor=1.0, peers=True):
    results = files.Results(date="2024-05-06T07:08:09", commit="0123456789ab")
    for n in (128, 256, 512, 1000):
        for k in (1.0, 1.02):
            results.add_google_benchmark(
                document(
                    entry(
                        f"attention/full/forward/cpu:1/L:{n}/real_time",
                        1e-4 * n * n * k,
                        flops=4.0 * n * n * 768,
                        D=768.0,
                        workspace=1024,
                        tensors=8 * 768 * n,
                    ),
                    entry(f"attention/full/forward+backward/cpu:1/L:{n}", 3e-4 * n * n * k, D=768.0),
                    entry(
                        f"monarch/order-2/forward/cpu:1/L:{n}/real_time",
                        factor * 2e-3 * n**1.5 * k,
                        D=768.0,
                        flops=4.0 * n**1.5 * 768,
                        bytes=1e6,
                        workspace=0,
                        tensors=8 * 768 * n + 4,
                    ),
                    entry("sgemm/eigen/forward/cpu:1/L:2048", 200 * k, flops=2.0 * 2048**3, D=2048.0),
                    compiler="g++ <12>",
                    flags="-O3",
                ),
                "a.json",
            )
    if peers:
        results.add_pair(
            files.pair("monarch/order-2/forward/cpu:1/L:1000", 1000, "torch 2", [10, 11], [20, 23], "bmm")
        )
    results.skip("attention/full/forward/cpu:1/L:32768", "predicted 40 s")
    return results


class Names(unittest.TestCase):
    def test_full_name(self):
        self.assertEqual(
            files.parse_name("monarch/order-2/forward+backward/cpu:2/L:4096/real_time"),
            {
                "name": "monarch/order-2/forward+backward/cpu:2/L:4096",
                "mixer": "monarch",
                "variant": "order-2",
                "pass": "forward+backward",
                "backend": "cpu",
                "threads": 2,
                "L": 4096,
            },
        )

    def test_backend_without_threads_means_one(self):
        self.assertEqual(files.parse_name("a/b/forward/reference/L:1")["threads"], 1)

    def test_other_names_are_refused(self):
        for bad in (
            "",
            "monarch",
            "a/b/c/d",
            "a/b/c/cpu:x/L:1",
            "a/b/c/cpu/L:",
            "a/b/c/cpu/L:-4",
            "a/b/c/cpu/N:4",
            "a//c/cpu/L:4",
            "a/b/c/cpu/L:4/extra/more",
            "a/b/c/:1/L:4",
        ):
            self.assertIsNone(files.parse_name(bad), bad)

    def test_titles_and_styles(self):
        self.assertEqual(
            names.title("long_convolution", "causal-channel-major"), "long convolution, causal channel major"
        )
        self.assertEqual(names.title("attention", "full"), "softmax attention")
        keys = [
            ("zeta", "x"),
            ("monarch", "b"),
            ("monarch", "a"),
            ("attention", "causal"),
            ("attention", "full"),
        ]
        self.assertEqual(names.ordered(keys)[:2], [("attention", "full"), ("attention", "causal")])
        style = names.styles(keys)
        self.assertNotEqual(style["monarch", "a"]["dash"], style["monarch", "b"]["dash"])
        self.assertEqual(style["monarch", "a"]["colour"], style["monarch", "b"]["colour"])
        self.assertIn(style["zeta", "x"]["colour"], names.SPARE_COLOURS)

    def test_causal_mixers_meet_causal_rivals(self):
        self.assertEqual(names.rival_variant("causal-channel-major", {"full", "causal"}), "causal")
        self.assertEqual(names.rival_variant("order-2", {"full", "causal"}), "full")
        self.assertEqual(names.rival_variant("causal", {"full"}), "full")
        self.assertIsNone(names.rival_variant("causal", set()))


class Reading(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, text, name="in.json"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text if isinstance(text, str) else json.dumps(text))
        return path

    def refuses(self, text, pattern):
        with self.assertRaisesRegex(files.ReportError, pattern):
            files.load(self.file(text))

    def test_repetitions_become_a_median_in_ms(self):
        r = files.load(
            self.file(
                document(
                    *(
                        entry("a/b/forward/cpu:1/L:1000", t, "us", flops=2e6, D=8.0)
                        for t in (3000, 1000, 2000)
                    )
                )
            )
        )
        row = r.rows["a/b/forward/cpu:1/L:1000"]
        self.assertEqual((row["ms"], row["spread_ms"], row["D"]), (2.0, [1.0, 3.0], 8))
        self.assertAlmostEqual(row["tokens/s"], 1000 / 2e-3)
        self.assertAlmostEqual(row["GFLOP/s"], 1.0)

    def test_aggregates_are_not_samples(self):
        r = files.load(
            self.file(
                document(
                    entry("a/b/forward/cpu:1/L:8", 1.0),
                    {**entry("a/b/forward/cpu:1/L:8", 9.0), "run_type": "aggregate"},
                )
            )
        )
        self.assertEqual(r.rows["a/b/forward/cpu:1/L:8"]["samples_ms"], [1.0])

    def test_all_units(self):
        for unit, ms in (("ns", 1e-6), ("us", 1e-3), ("ms", 1.0), ("s", 1e3)):
            r = files.load(self.file(document(entry("a/b/forward/cpu:1/L:8", 5.0, unit))))
            self.assertAlmostEqual(r.rows["a/b/forward/cpu:1/L:8"]["ms"], 5 * ms)

    def test_tokens_count_the_batch(self):
        r = files.load(self.file(document(entry("a/b/forward/cpu:1/L:8", 1.0, batch=4.0))))
        self.assertAlmostEqual(r.rows["a/b/forward/cpu:1/L:8"]["tokens/s"], 32e3)

    def test_failed_and_foreign_rows_are_listed_not_lost(self):
        r = files.load(
            self.file(
                document(
                    entry("a/b/forward/cpu:1/L:8", 0, error_occurred=True, error_message="no memory"),
                    entry("BM_other", 1.0),
                )
            )
        )
        self.assertEqual(r.skipped["a/b/forward/cpu:1/L:8"]["reason"], "no memory")
        self.assertIn("BM_other", r.skipped)
        self.assertEqual(r.rows, {})

    def test_missing_empty_and_broken_files(self):
        with self.assertRaisesRegex(files.ReportError, "gone.json: No such file"):
            files.load(os.path.join(self.folder, "gone.json"))
        self.refuses("", "empty file")
        self.refuses("  \n", "empty file")
        self.refuses('{"benchmarks": [', "line 1: not valid JSON")
        self.refuses("[]", "neither Google Benchmark")
        self.refuses("7", "neither Google Benchmark")
        self.refuses({}, "neither Google Benchmark")
        self.refuses({"benchmarks": {}}, "expected a list, got dict")
        self.refuses({"benchmarks": [3]}, r"benchmarks\[0\]: expected an object")
        self.refuses(
            document(entry("a/b/forward/cpu:1/L:8", "fast")), "real_time: expected a positive number"
        )
        self.refuses(document(entry("a/b/forward/cpu:1/L:8", -1)), "real_time: expected a positive number")
        self.refuses(document(entry("a/b/forward/cpu:1/L:8", 1, "weeks")), "weeks")
        self.refuses({"schema": 99}, "schema: expected 1, got 99")
        self.refuses({"schema": 1, "rows": 3}, "rows: expected a list")
        self.refuses(
            {"schema": 1, "rows": [{"name": "a/b/forward/cpu:1/L:8", "samples_ms": []}]},
            r"rows\[0\]: samples_ms",
        )
        self.refuses({"schema": 1, "rows": [{"name": "x", "samples_ms": [1]}]}, r"rows\[0\]: name")
        self.refuses({"schema": 1, "peers": [{"name": "x"}]}, r"peers\[0\]: expected name")

    def test_binary_files(self):
        path = os.path.join(self.folder, "b.json")
        with open(path, "wb") as f:
            f.write(b"\xff\xfe\x00")
        with self.assertRaisesRegex(files.ReportError, "not a text file"):
            files.load(path)

    def test_results_survive_saving(self):
        first = sample_results()
        path = os.path.join(self.folder, "results.json")
        first.save(path)
        second = files.load(path)
        self.assertEqual(json.loads(first.as_json()), json.loads(second.as_json()))
        self.assertEqual(os.listdir(self.folder), ["results.json"])

    def test_every_row_and_pair_has_the_promised_fields(self):
        data = json.loads(sample_results().as_json())
        for row in data["rows"]:
            for key in (
                "name",
                "mixer",
                "variant",
                "pass",
                "backend",
                "threads",
                "L",
                "D",
                "ms",
                "tokens/s",
                "flops",
                "bytes",
                "workspace",
            ):
                self.assertIn(key, row)
        for pair in data["peers"]:
            self.assertEqual({"name", "L", "ours_ms", "peer", "peer_ms", "ratio"} - set(pair), set())
        self.assertAlmostEqual(data["peers"][0]["ratio"], 21.5 / 10.5)

    def test_a_row_that_was_skipped_and_then_measured_counts_as_measured(self):
        r = files.Results()
        r.skip("a/b/forward/cpu:1/L:8", "later")
        r.add_google_benchmark(document(entry("a/b/forward/cpu:1/L:8", 1.0)), "x")
        self.assertEqual(r.skipped, {})
        r.skip("a/b/forward/cpu:1/L:8", "again")
        self.assertEqual(r.skipped, {})

    def test_an_unwritable_place_is_an_error_with_its_name(self):
        with self.assertRaisesRegex(files.ReportError, "/nowhere/at/all/results.json"):
            sample_results().save("/nowhere/at/all/results.json")


class Crossover(unittest.TestCase):
    lengths = (128, 256, 512, 1024, 2048)

    def test_power_laws_cross_where_algebra_says(self):
        # a L^1.5 = b L^2 at L = (a / b)^2, exact in log-log
        mine = curve([(n, 20e-3 * n**1.5) for n in self.lengths])
        theirs = curve([(n, 1e-3 * n**2) for n in self.lengths])
        c = crossover(mine, theirs)
        self.assertEqual(c["state"], CROSSES)
        self.assertAlmostEqual(c["L"], 400.0, places=6)
        self.assertAlmostEqual(c["low"], c["high"], places=6)

    def test_spread_comes_from_the_repetitions(self):
        mine = curve([(n, 20e-3 * n**1.5) for n in self.lengths], 0.1)
        theirs = curve([(n, 1e-3 * n**2) for n in self.lengths], 0.1)
        c = crossover(mine, theirs)
        self.assertAlmostEqual(c["low"], 400 * (0.9 / 1.1) ** 2, places=6)
        self.assertAlmostEqual(c["high"], 400 * (1.1 / 0.9) ** 2, places=6)

    def test_nothing_is_extrapolated(self):
        fast, slow = curve([(n, 1.0) for n in self.lengths]), curve([(n, 2.0) for n in self.lengths])
        self.assertEqual(crossover(fast, slow)["state"], ALWAYS)
        self.assertEqual(crossover(slow, fast)["state"], NEVER)
        self.assertIsNone(crossover(fast, slow)["L"])
        # these would cross at 4096, just beyond the last point
        mine = curve([(n, 64e-3 * n**1.5) for n in self.lengths])
        theirs = curve([(n, 1e-3 * n**2) for n in self.lengths])
        self.assertEqual(crossover(mine, theirs)["state"], NEVER)

    def test_a_spread_that_leaves_the_measured_range_is_open(self):
        mine = curve([(n, 13e-3 * n**1.5) for n in self.lengths], 0.1)  # crosses at 169, from 113 to 252
        c = crossover(mine, curve([(n, 1e-3 * n**2) for n in self.lengths], 0.1))
        self.assertEqual((c["state"], c["low"]), (CROSSES, None))
        self.assertIn("below 128", describe(c)[1])

    def test_equal_is_not_faster(self):
        same = curve([(n, 1.0) for n in self.lengths])
        self.assertEqual(crossover(same, same)["state"], NEVER)

    def test_the_last_of_several_crossings(self):
        mine = curve([(128, 2.0), (256, 1.0), (512, 2.0), (1024, 1.0)])
        theirs = curve([(128, 1.0), (256, 2.0), (512, 1.0), (1024, 2.0)])
        c = crossover(mine, theirs)
        self.assertEqual(c["changes"], 3)
        self.assertTrue(512 < c["L"] < 1024)
        self.assertIn("changes 3 times", describe(c)[1])

    def test_leading_and_then_losing_is_no_crossover(self):
        mine, theirs = curve([(128, 1.0), (256, 4.0)]), curve([(128, 2.0), (256, 2.0)])
        self.assertEqual(crossover(mine, theirs)["state"], LEADS_THEN_LOSES)
        self.assertEqual(describe(crossover(mine, theirs))[0], "none measured")

    def test_only_common_lengths_count(self):
        mine, theirs = curve([(128, 2.0), (300, 1.0), (512, 1.0)]), curve(
            [(128, 1.0), (512, 2.0), (4096, 9.0)]
        )
        c = crossover(mine, theirs)
        self.assertEqual((c["first"], c["last"]), (128, 512))
        self.assertAlmostEqual(c["L"], 256.0)
        self.assertEqual(crossover(mine, [])["state"], NO_DATA)
        self.assertEqual(crossover(mine, curve([(7, 1.0)]))["state"], NO_DATA)


class Comparing(unittest.TestCase):
    def test_only_disjoint_repetitions_count(self):
        self.assertEqual(compare.verdict([1.0, 1.1], [1.2, 1.3]), compare.FASTER)
        self.assertEqual(compare.verdict([1.2, 1.3], [1.0, 1.1]), compare.SLOWER)
        self.assertEqual(compare.verdict([1.0, 1.25], [1.2, 1.3]), compare.WITHIN)
        self.assertEqual(compare.verdict([1.0], [5.0, 6.0]), compare.UNKNOWN)

    def test_rows_pair_by_name(self):
        new, old = sample_results(0.5), sample_results()
        name = "monarch/order-2/forward/cpu:1/L:256"
        del old.rows["monarch/order-2/forward/cpu:1/L:128"], new.rows["sgemm/eigen/forward/cpu:1/L:2048"]
        changes, only_new, only_old = compare.compare(new, old)
        change = next(c for c in changes if c["name"] == name)
        self.assertAlmostEqual(change["ratio"], 2.0)
        self.assertEqual(change["verdict"], compare.FASTER)
        self.assertEqual(only_new, ["monarch/order-2/forward/cpu:1/L:128"])
        self.assertEqual(only_old, ["sgemm/eigen/forward/cpu:1/L:2048"])


class Units(unittest.TestCase):
    def test_numbers(self):
        self.assertEqual(units.size(2**20 * 3), "3 MiB")
        self.assertEqual(units.size(0), "0 B")
        self.assertEqual(units.size(None), "–")
        self.assertEqual(units.ms(0.0123), "12.3 µs")
        self.assertEqual(units.ms(1234.5), "1,234 ms")
        self.assertEqual(units.short(1234567), "1.23 M")

    def test_machine(self):
        m = machine.describe()
        self.assertTrue(m["cpu"])
        self.assertGreaterEqual(m["cores"], 1)
        self.assertGreater(machine.available_bytes(), 2**20)
        self.assertEqual(machine.commit("/"), "")
        self.assertGreaterEqual(machine.Others().cores(), 0)


class ThePage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = page.render(sample_results())

    def test_it_needs_nothing_else_and_answers_both_questions(self):
        text = page.render(sample_results(), sample_results(1.5), "old.json")
        # Namespaces name, they do not load.
        loads = [u for u in re.findall(r"(?:https?:)?//[\w.]+[^\s\"'<]*", text) if "www.w3.org" not in u]
        self.assertEqual([u for u in loads if u.startswith("http")], [])
        self.assertNotRegex(text, r"<link|<img|@import|src=")
        self.assertIn("prefers-color-scheme: dark", text)
        self.assertIn("From which length does it beat softmax attention?", text)
        self.assertIn("tokens per second", text)
        self.assertIn("sequence length L, tokens", text)
        self.assertIn(">L = 400<", text)  # 2e-3 L^1.5 = 1e-4 L^2
        self.assertIn("predicted 40 s", text)
        self.assertIn("g++ &lt;12&gt;", text)
        self.assertNotIn("g++ <12>", text)

    def test_charts_are_well_formed_transparent_and_coloured_by_the_page(self):
        charts = re.findall(r"<svg.*?</svg>", self.text, re.DOTALL)
        self.assertGreaterEqual(len(charts), 5)
        ids = []
        for chart in charts:
            root = xml.fromstring(chart)
            ids += [n.get("id") for n in root.iter() if n.get("id")]
            self.assertIn("currentColor", chart)
            self.assertNotRegex(chart, r"#0102[0-9a-f]{2}|#ffffff|#000000")
            for node in root.iter():
                if node.tag.endswith("}text"):
                    self.assertRegex(node.get("style"), r"fill: (currentColor|var\(--\w+\))", node.text)
            self.assertTrue([n for n in root.iter() if n.tag.endswith("}title")], "no values on hover")
        self.assertEqual(len(ids), len(set(ids)), "ids must be unique over all charts of the page")

    def test_a_busy_machine_and_an_interrupted_run_are_said_first(self):
        self.assertNotIn("Other programs kept", self.text)
        results = sample_results()
        results.about.update(others_cores=0.7, partial="This run was interrupted.")
        text = page.render(results)
        self.assertLess(text.index("This run was interrupted."), text.index("<svg"))
        self.assertLess(text.index("Other programs kept 0.7 cores"), text.index("<svg"))

    def test_every_point_says_its_value(self):
        for n in (128, 256, 512, "1,000"):
            self.assertRegex(self.text, rf"<title>Monarch, order 2, L = {n}\n[0-9.]+ [kM]? ?tokens/s")

    def test_runs_with_little_or_nothing(self):
        self.assertIn("No mixer was measured", page.render(files.Results()))
        only_peers = files.Results()
        only_peers.add_pair(files.pair("x/y/forward/cpu:1/L:8", 8, "torch", [1.0], [2.0]))
        self.assertIn("2.00×", page.render(only_peers))
        lonely = files.Results()
        lonely.add_google_benchmark(document(entry("monarch/order-2/forward/cpu:1/L:128", 1.0)), "x")
        text = page.render(lonely)
        self.assertIn("not measured", text)
        self.assertIn("tokens per second", text)


class Models(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.results = sample_results(peers=False)
        for n, ours, theirs in ((128, 100.0, 250.0), (512, 400.0, 800.0)):
            for model, ms, peer in (
                ("m2_bert_80m", ours, [theirs, theirs + 10]),
                ("bert_base", 0.9 * theirs, [theirs + 20]),
            ):
                name = f"{model}/encode/forward/cpu:1/L:{n}"
                cls.results.add_google_benchmark(document(entry(name, ms, D=768.0, workspace=8, tensors=8)), "x")
                cls.results.add_pair(files.pair(name, n, "transformers 5 on torch 2", [ms], peer, "BertModel"))
        name = "minilm/embed/forward/cpu:1/L:24"
        cls.results.add_google_benchmark(document(entry(name, 8.0, D=384.0)), "x")
        cls.text = page.render(cls.results)

    def test_they_are_no_mixers(self):
        with_models, without = page.Page(self.results), page.Page(sample_results(peers=False))
        self.assertEqual((with_models.keys, with_models.width), (without.keys, without.width))

    def test_curves_stand_beside_hugging_face(self):
        rows = [r for r in self.results.rows.values() if r["mixer"] in names.MODELS]
        curves = {title: points for title, _, points in models.series(self.results, rows, 1)}
        self.assertEqual([p[0] for p in curves["M2-BERT-80M"]], [128, 512])
        self.assertAlmostEqual(curves["M2-BERT-80M"][0][1], 1280)
        rates = curves["BERT-base, Hugging Face"][0][1:4]  # the samples of both pairs: 250 and 260 ms, twice
        for rate, seconds in zip(rates, (0.26, 0.27, 0.25)):  # the samples of both pairs
            self.assertAlmostEqual(rate, 128 / seconds)
        self.assertNotIn("BERT-base, Hugging Face", [title for title, *_ in models.series(self.results, rows, 2)])

    def test_the_page_shows_them(self):
        for words in (
            "<h2>Whole models</h2>",
            "<title>M2-BERT-80M, L = 128\n1.28 k tokens/s",
            "<title>BERT-base, Hugging Face, L = 512\n",
            "MiniLM-L6: a sentence of 24 tokens in <b>8 ms</b>",
            "M2-BERT stands against BERT-base",
        ):
            self.assertIn(words, self.text)
        self.assertNotIn("Whole models", page.render(sample_results(peers=False)))

    def test_only_a_sentence(self):
        results = files.Results()
        name = "minilm/embed/forward/cpu:2/L:24"
        results.add_google_benchmark(document(entry(name, 8.0, D=384.0)), "x")
        text = page.render(results)
        self.assertIn("24 tokens in <b>8 ms</b>", text)
        self.assertIn("Google Benchmark", text)
        self.assertNotIn("Goals", text)

    def test_goals(self):
        found = goals.model_goals(self.results)
        self.assertEqual(
            [(g.state, g.measured) for g in found[:3]],
            [(goals.MET, "2.55×"), (goals.MISSED, "2.01×"), (goals.OPEN, None)],
        )
        self.assertEqual([g.state for g in found[6:]], [goals.MET, goals.MET, goals.OPEN])
        self.assertEqual({g.state for g in goals.model_goals(sample_results())}, {goals.OPEN})
        self.assertEqual(goals.model_pairs(sample_results()), [])  # what it has is a mixer's, with torch


class CommandLine(unittest.TestCase):
    def run_main(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = report.main(list(arguments))
            except SystemExit as e:
                code = e.code
        return code, out.getvalue(), err.getvalue()

    def test_unknown_options_and_missing_arguments(self):
        self.assertEqual(self.run_main("--colour", "red")[0], 2)
        code, _, err = self.run_main("--out", "x", "--shiny", "a.json")
        self.assertEqual(code, 2)
        self.assertIn("--shiny", err)
        self.assertEqual(self.run_main("--ou", "x", "a.json")[0], 2)
        self.assertEqual(self.run_main("--out", "x")[0], 2)

    def test_from_json_to_page(self):
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "in.json")
            sample_results().save(source)
            code, out, err = self.run_main("--out", os.path.join(folder, "new"), "--against", source, source)
            self.assertEqual((code, err), (0, ""))
            self.assertTrue(os.path.exists(out.strip()))
            self.assertTrue(os.path.exists(os.path.join(folder, "new", "results.json")))

    def test_errors_are_one_line_and_leave_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            code, out, err = self.run_main(
                "--out", os.path.join(folder, "new"), os.path.join(folder, "gone.json")
            )
            self.assertEqual((code, out), (1, ""))
            self.assertEqual(err.count("\n"), 1)
            self.assertIn("gone.json", err)
            self.assertFalse(os.path.exists(os.path.join(folder, "new")))


if __name__ == "__main__":
    unittest.main()
