#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/gpu.sh with tools that only pretend: which stages run, what stops what, what the exit status says.

usage: test_gpu.py ROOT
"""

import glob
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else ".").resolve()
BENCH = """#!{python}
import json, sys, time
row = dict(name="a/x/forward/cuda/L:8", L=8, D=8, tokens=8, flops=1, bytes=1, workspace=0, tensors=8, launches=1)
if sys.argv[1] == "--device":
    print(json.dumps(dict(gpu="Test GPU", gpu_free=2**30, compiler="", flags="")))
elif sys.argv[1] == "--plan":
    print(json.dumps(row))
else:
    for line in sys.stdin:
        time.sleep({seconds})
        print(json.dumps(dict(row, samples_ms=[1.0], sets=1, note="")), flush=True)
"""


class Gpu(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.tools, self.build, self.out = (self.folder / n for n in ("tools", "build", "out"))
        (self.build / "bench" / "cuda").mkdir(parents=True)
        self.tools.mkdir()
        self.script = ROOT / "scripts" / "gpu.sh"
        self.tool("nvidia-smi", "echo Test GPU")
        self.tool("compute-sanitizer", "exit 0")
        self.bench(0)
        self.register("add_test(cuda.good true)\nset_tests_properties(cuda.good PROPERTIES LABELS \"cuda;smoke;sanitize\")\n")

    def tool(self, name, body):
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def bench(self, seconds):
        path = self.build / "bench" / "cuda" / "bench_cuda"
        path.write_text(BENCH.format(python=sys.executable, seconds=seconds))
        path.chmod(0o755)

    def register(self, text):
        (self.build / "CTestTestfile.cmake").write_text(text)

    def start(self, *more):
        command = ["bash", str(self.script), "--build-dir", str(self.build), "--out", str(self.out), *more]
        environment = {**os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}"}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def run_it(self, *more):
        process = self.start(*more)
        out, err = process.communicate(timeout=110)
        return process.returncode, out, err

    def assert_ends(self, number):
        """The process whose number the file holds ends soon: who waits for it may have to hear of it first."""
        process = pathlib.Path("/proc", number.read_text().strip())
        for _ in range(100):
            if not process.exists():
                return
            time.sleep(0.1)
        self.fail("it goes on")

    def test_all_stages(self):
        code, out, err = self.run_it("--no-build", "--no-peers")
        self.assertEqual((code, err), (0, ""), out)
        self.assertIn("Test GPU", out)
        for stage in ("test", "sanitize", "bench"):
            self.assertRegex(out, rf"(?m)^   {stage} +\d+ s$")
        self.assertTrue((self.out / "results.json").exists())
        self.assertTrue((self.out / "tests.xml").exists())
        self.assertIn("memcheck cuda.good: 0", (self.out / "sanitizer.log").read_text())

    def test_a_stage_that_fails_stops_nothing_and_is_told(self):
        self.register("add_test(cuda.bad false)\nset_tests_properties(cuda.bad PROPERTIES LABELS \"cuda;sanitize\")\n")
        self.tool("compute-sanitizer", 'if [ "$2" = racecheck ]; then echo a race; exit 86; fi')
        code, out, err = self.run_it("--no-build", "--no-peers")
        self.assertEqual(code, 1)
        self.assertEqual(err, "failed: test sanitize\n")
        self.assertIn("status 86: a race", out)
        self.assertTrue((self.out / "results.json").exists())

    def test_no_test_is_a_failure(self):
        self.register("")
        code, out, err = self.run_it("--no-build", "--only", "test")
        self.assertEqual(code, 1)
        self.assertIn("no test is labelled", err)

    def test_a_sanitizer_that_cannot_run_is_skipped_with_the_reason(self):
        self.tool("compute-sanitizer", "echo '========= Error: Device not supported'; exit 1")
        code, out, _ = self.run_it("--no-build", "--only", "sanitize")
        self.assertEqual(code, 0)
        self.assertIn("Device not supported", out)
        self.assertRegex(out, r"sanitize +\d+ s, skipped")

    def test_what_a_sanitizer_found_is_told_where_the_next_one_cannot_run(self):
        self.tool("compute-sanitizer", '[ "$2" = memcheck ] && exit 86; echo Device not supported; exit 1')
        code, _, err = self.run_it("--no-build", "--only", "sanitize")
        self.assertEqual((code, err), (1, "failed: sanitize\n"))

    def test_what_a_sanitizer_started_ends_with_its_time(self):
        started = self.folder / "started"
        self.tool("compute-sanitizer", f"sleep 300 & echo $! >{started}; wait")
        self.out.mkdir()
        words = [sys.executable, str(ROOT / "tests" / "cuda" / "sanitize.py"), "--build", str(self.build), "--out", str(self.out)]
        words += ["--sanitizer", str(self.tools / "compute-sanitizer"), "--seconds", "2"]
        self.assertIn("not within 2 s", subprocess.run(words, capture_output=True, text=True, timeout=60).stdout)
        self.assert_ends(started)

    def test_a_test_that_hangs_ends_with_the_stage(self):
        started = self.folder / "started"
        script = (ROOT / "scripts" / "gpu.sh").read_text()
        self.assertEqual(script.count("select+=(-L '^smoke$'); seconds=60"), 1)
        (self.folder / "scripts").mkdir()
        (self.folder / "scripts" / "gpu.sh").write_text(script.replace("seconds=60", "seconds=1"))
        shutil.copy(ROOT / "scripts" / "lib.sh", self.folder / "scripts")
        self.script = self.folder / "scripts" / "gpu.sh"
        self.tool("hangs", f"echo $$ >{started}; exec sleep 300")
        self.register(
            f"add_test(cuda.hangs {self.tools}/hangs)\nset_tests_properties(cuda.hangs PROPERTIES LABELS \"cuda;smoke\")\n"
        )
        code, out, err = self.run_it("--no-build", "--only", "test", "--smoke")
        self.assertEqual((code, err), (1, "failed: test\n"))
        self.assertIn("did not end within 1 s", out)
        self.assert_ends(started)

    def test_tests_that_skip_beside_a_gpu_are_a_failure(self):
        self.register(
            "add_test(cuda.skips sh -c \"exit 77\")\n"
            "set_tests_properties(cuda.skips PROPERTIES LABELS \"cuda;smoke\" SKIP_RETURN_CODE 77)\n"
        )
        code, _, err = self.run_it("--no-build", "--only", "test")
        self.assertEqual(code, 1)
        self.assertIn("tests were skipped", err)

    def test_goldens_that_were_not_built_are_told_and_no_part_of_smoke(self):
        code, out, _ = self.run_it("--no-build", "--only", "test")
        self.assertEqual(code, 0)
        self.assertIn("no nlohmann_json", out)
        self.assertRegex(out, r"(?m)^   goldens +\d+ s, skipped$")
        self.assertNotIn("goldens", self.run_it("--no-build", "--only", "test", "--smoke")[1])

    def test_smoke_takes_the_smoke_tests_alone(self):
        self.register(
            "add_test(cuda.good true)\nset_tests_properties(cuda.good PROPERTIES LABELS \"cuda;smoke\")\n"
            "add_test(cuda.bad false)\nset_tests_properties(cuda.bad PROPERTIES LABELS cuda)\n"
        )
        self.assertEqual(self.run_it("--no-build", "--only", "test", "--smoke")[0], 0)
        self.assertEqual(self.run_it("--no-build", "--only", "test")[0], 1)

    def test_what_the_tests_do_not_run_compiles_beside_them(self):
        words = self.folder / "ninja"
        self.tool("nvcc", "exit 0")
        self.tool("cmake", "exit 0")
        self.tool("ninja", f'echo "$@" >>{words}; case "$*" in *cuda_tests*) ;; *) sleep 2; touch {self.build}/rest ;; esac')
        self.register(
            f"add_test(cuda.early test ! -e {self.build}/rest)\nset_tests_properties(cuda.early PROPERTIES LABELS cuda)\n"
            f"add_test(cuda.goldens test -e {self.build}/rest)\n"
            'set_tests_properties(cuda.goldens PROPERTIES LABELS "cuda;goldens")\n'
        )
        code, out, err = self.run_it("--only", "test,bench", "--no-peers", "--jobs", "3")
        self.assertEqual((code, err), (0, ""), out)
        first, second = words.read_text().splitlines()
        self.assertIn("-j 3 -k 0 cuda_tests", first)
        self.assertTrue(second.endswith("-j 3 -k 0"), second)
        for stage in ("build", "test", "build-rest", "goldens", "bench"):
            self.assertRegex(out, rf"(?m)^   {stage} +\d+ s$")

    def test_interrupted_it_stops_the_build_beside_the_tests(self):
        ninja = self.folder / "ninja"
        self.tool("nvcc", "exit 0")
        self.tool("cmake", "exit 0")
        self.tool("ninja", f'case "$*" in *cuda_tests*) ;; *) echo $$ >{ninja}; exec sleep 60 ;; esac')
        process = self.start("--only", "test,bench", "--no-peers")
        for _ in range(600):
            if ninja.exists() and ninja.read_text() and (self.out / "tests.xml").exists():
                break
            time.sleep(0.1)
        process.terminate()  # itself, not its group: who waits for the build passes it on
        self.assertEqual((process.communicate(timeout=30), process.returncode)[1], 130)
        self.assert_ends(ninja)

    def test_a_build_that_fails_lets_the_rest_run(self):
        self.tool("nvcc", "exit 1")
        self.tool("cmake", "echo no compiler here; exit 1")
        self.tool("ninja", "exit 1")
        code, out, err = self.run_it("--only", "test")
        self.assertEqual(code, 1)
        self.assertIn("failed: build\n", err)
        self.assertRegex(out, r"(?m)^   test +\d+ s$")
        self.assertIn("no compiler here", err)

    def test_a_test_that_does_not_compile_stops_neither_the_rest_of_the_build_nor_the_stages(self):
        self.tool("nvcc", "exit 0")
        self.tool("cmake", "exit 0")
        self.tool("ninja", 'case "$*" in *cuda_tests*) echo error: in a test; exit 1 ;; esac')
        code, out, err = self.run_it("--only", "test,bench", "--no-peers")
        self.assertEqual(code, 1)
        self.assertEqual(err, "error: in a test\nfailed: build\n")
        self.assertRegex(out, r"(?m)^   build-rest +\d+ s$")
        self.assertTrue((self.out / "results.json").exists())

    @unittest.skipIf(glob.glob("/dev/nvidia[0-9]*"), "this machine has a GPU")
    def test_without_a_gpu(self):
        self.tool("nvidia-smi", "echo NVIDIA-SMI has failed; exit 9")
        code, out, err = self.run_it("--no-build")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("no GPU", err)

    def test_wrong_use(self):
        for words in (("--only", "tests"), ("--jobs", "0"), ("--out",), ("--no-build", "--build-only"), ("--against", "gone")):
            self.assertEqual(self.run_it(*words)[0], 2, words)

    def test_interrupted_it_keeps_what_is_there(self):
        self.bench(30)
        process = self.start("--no-build", "--no-peers")
        for _ in range(600):
            if (self.out / "sanitizer.log").exists() and "synccheck" in (self.out / "sanitizer.log").read_text():
                break
            time.sleep(0.1)
        time.sleep(2)  # the benchmarks have begun
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        self.assertIn("interrupted", err)
        self.assertTrue((self.out / "tests.xml").exists())


if __name__ == "__main__":
    unittest.main()
