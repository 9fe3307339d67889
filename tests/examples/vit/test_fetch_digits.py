#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/fetch_digits.sh without a network: a package index in a folder, and none.

usage: test_fetch_digits.py ROOT
"""

import gzip
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
ROWS = [[(7 * n + i) % 17 for i in range(64)] + [n % 10] for n in range(1797)]


@unittest.skipIf(subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode, "no pip")
class FetchDigits(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "out"

    def wheel(self, rows):
        with zipfile.ZipFile(self.folder / "scikit_learn-0.1.0-py3-none-any.whl", "w") as wheel:
            text = "\n".join(",".join(map(str, row)) for row in rows)
            wheel.writestr("sklearn/datasets/data/digits.csv.gz", gzip.compress(text.encode()))
            info = "scikit_learn-0.1.0.dist-info"
            wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: scikit-learn\nVersion: 0.1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")

    def fetch(self, *more, **variables):
        command = ["bash", str(ROOT / "scripts" / "fetch_digits.sh"), "--out", str(self.out), *more]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
        environment |= {"PIP_CONFIG_FILE": os.devnull, **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
        return done.returncode, done.stdout, done.stderr

    def from_folder(self):
        return self.fetch(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.folder))

    def test_writes_both_arrays_and_does_nothing_again(self):
        self.wheel(ROWS)
        code, out, err = self.from_folder()
        self.assertEqual((code, err), (0, ""), out)
        self.assertEqual(sorted(os.listdir(self.out)), ["images.npy", "labels.npy"])
        images, labels = [(self.out / name).read_bytes() for name in ("images.npy", "labels.npy")]
        self.assertIn(b"'shape': (1797, 8, 8)", images[:128])
        self.assertEqual(list(images[128:]), [pixel for row in ROWS for pixel in row[:64]])
        self.assertEqual(list(struct.unpack("<1797q", labels[128:])), [row[64] for row in ROWS])
        self.assertEqual(self.fetch(PIP_NO_INDEX="1")[0], 0)

    def test_another_package_leaves_nothing(self):
        self.wheel(ROWS[1:])
        code, _, err = self.from_folder()
        self.assertEqual(code, 1)
        self.assertIn("does not carry the digits as expected", err)
        self.assertEqual(os.listdir(self.out), [])

    def test_no_network(self):
        code, _, err = self.fetch(PIP_INDEX_URL="http://127.0.0.1:9/simple")
        self.assertEqual(code, 77, err)
        self.assertIn("no network", err)

    def test_wrong_use(self):
        self.assertEqual(self.fetch("--out")[0], 2)
        self.assertEqual(self.fetch("--into", "x")[0], 2)
        (self.folder / "file").write_text("")
        code, _, err = self.fetch("--out", str(self.folder / "file"))
        self.assertEqual(code, 1)
        self.assertIn("cannot make the folder", err)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
