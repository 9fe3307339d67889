#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""smx-vit as somebody calls it: seconds of training, resuming, pictures, a published checkpoint, bad input.

usage: test_program.py PROGRAM ROOT
"""

import json
import math
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
ROOT = pathlib.Path(sys.argv.pop(1))
CLASSES = ["bars", "rings", "rows"]
SMALL = ["--channels", "32", "--depth", "1", "--batch", "32", "--warmup", "5", "--quiet"]
RATE = ["--rate", "0.005"]


def picture(label, source):
    """8x8 pixels: stripes down, a ring, or stripes across, at a random place and with noise."""
    at = source.randrange(4)
    ring = lambda y, x: 160 if 2 <= max(abs(y - 2 - at / 2), abs(x - 2 - at / 2)) < 3 else 20
    value = [lambda y, x: 160 if (x + at) % 4 < 2 else 20, ring, lambda y, x: 160 if (y + at) % 4 < 2 else 20]
    return bytes(value[label](y, x) + source.randrange(60) for y in range(8) for x in range(8))


def npy(path, descr, shape, data):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data)


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    metadata = header.pop("__metadata__")
    body = data[8 + size :]
    return metadata, {k: (v["shape"], body[slice(*v["data_offsets"])]) for k, v in header.items()}


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class Program(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.at = pathlib.Path(cls.temporary.name)
        source = random.Random(1)
        pictures = [(picture(n % 3, source), n % 3) for n in range(240)]
        npy(cls.at / "images.npy", "|u1", "(240, 8, 8)", b"".join(p for p, _ in pictures))
        npy(cls.at / "labels.npy", "<i8", "(240,)", b"".join(struct.pack("<q", label) for _, label in pictures))
        for n, (pixels, label) in enumerate(pictures[:90]):
            folder = cls.at / "folders" / CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{n:03}.pgm").write_bytes(b"P5\n8 8\n255\n" + pixels)
        cls.arrays = ["--images", str(cls.at / "images.npy"), "--labels", str(cls.at / "labels.npy")]
        cls.folders = ["--data", str(cls.at / "folders")]
        cls.model = str(cls.at / "model")
        cls.trained = cls.run_program("train", *cls.arrays, *SMALL, *RATE, "--steps", "60", "--checkpoint", cls.model)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @staticmethod
    def run_program(*words):
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=100)
        return done.returncode, done.stdout, done.stderr

    def accuracy(self, result):
        code, out, err = result
        self.assertEqual(code, 0, err)
        return float(re.search(r"([0-9.]+) % right", out)[1])

    def refused(self, *words, says, code=1):
        got, _, err = self.run_program(*words)
        self.assertEqual(got, code, err)
        for text in says:
            self.assertIn(text, err)

    def test_both_mixers_learn(self):
        # Guessing gives 33 % with a deviation of 7 % on these 48 images.
        self.assertGreater(self.accuracy(self.trained), 80)
        softmax = self.run_program("train", *self.arrays, *SMALL, *RATE, "--steps", "100", "--mixer", "softmax")
        self.assertGreater(self.accuracy(softmax), 60)

    def test_eval_says_what_training_said(self):
        held_out = self.run_program("eval", *self.arrays, "--model", self.model, "--part", "held-out")
        self.assertEqual(self.accuracy(held_out), self.accuracy(self.trained))
        self.assertIn("of 16", held_out[1])

    def test_resuming_needs_the_same_config(self):
        half = str(self.at / "half")
        words = ["train", *self.arrays, *SMALL, *RATE, "--checkpoint", half, "--steps", "8"]
        self.assertEqual(self.run_program(*words)[0], 0)
        self.assertEqual(self.run_program(*words, "--resume")[0], 0)
        other = [{"32": "16"}.get(word, word) if words[n - 1] == "--channels" else word for n, word in enumerate(words)]
        self.refused(*other, "--resume", "--shift", "0",
                     says=["vit.channels: 32 in the checkpoint, 16 now", "shift: 1 in the checkpoint, 0 now"])
        self.refused(*words, says=["resume its run"])

    def test_plan_allocates_nothing(self):
        code, out, err = self.run_program("train", *self.arrays, "--plan", "--steps", "10")
        self.assertEqual(code, 0, err)
        self.assertIn("parameters", out)
        self.refused("train", *self.arrays, "--plan", "--steps", "10", "--channels", "400000", says=["needs"])

    def test_folders_are_learnt_and_a_sheet_shows_the_mistakes(self):
        model, sheet = str(self.at / "of_folders"), self.at / "sheet.ppm"
        trained = self.run_program("train", *self.folders, *SMALL, *RATE, "--steps", "60", "--checkpoint", model)
        self.assertGreater(self.accuracy(trained), 75)
        code, out, err = self.run_program("predict", *self.folders, "--model", model, "--sheet", str(sheet))
        self.assertEqual(code, 0, err)
        lines = out.splitlines()
        self.assertEqual(len(lines), 90)
        self.assertTrue(all(line.split("\t")[1] in CLASSES for line in lines))
        self.assertTrue(sheet.read_bytes().startswith(b"P6\n"))
        code, out, err = self.run_program("predict", "--data", str(self.at / "folders/bars/000.pgm"), "--model", model)
        self.assertEqual((code, len(out.splitlines())), (0, 1), err)

    def published(self, drop=(), **changes):
        """The reference outputs of a published ViT as its folder; logits and images as arrays of numbers."""
        metadata, tensors = read_safetensors(ROOT / "tests/data/goldens/hf_vit.safetensors")
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.at))
        (folder / "config.json").write_text(json.dumps({**json.loads(metadata["config"]), **changes}))
        weights = {k[2:]: v for k, v in tensors.items() if k.startswith("w.") and k[2:] not in drop}
        write_safetensors(folder / "model.safetensors", weights)
        numbers = lambda name: struct.unpack(f"<{len(tensors[name][1]) // 4}f", tensors[name][1])
        pixels = [127.5 * v + 127.5 for v in numbers("in.pixel_values")]
        npy(folder / "x.npy", "<f4", str(tuple(tensors["in.pixel_values"][0])), struct.pack(f"<{len(pixels)}f", *pixels))
        return folder, numbers("out.logits"), tensors["out.logits"][0]

    def test_a_published_checkpoint_gives_the_reference_logits(self):
        folder, logits, shape = self.published()
        code, out, err = self.run_program("predict", "--images", str(folder / "x.npy"), "--model", str(folder))
        self.assertEqual(code, 0, err)
        self.assertEqual(len(out.splitlines()), shape[0])
        for n, line in enumerate(out.splitlines()):
            row = logits[n * shape[1] : (n + 1) * shape[1]]
            best = max(row)
            self.assertEqual(int(line.split("\t")[1]), row.index(best))
            self.assertAlmostEqual(float(line.split("\t")[2]), 1 / sum(math.exp(v - best) for v in row), 3)

    def test_a_checkpoint_that_does_not_fit_is_refused(self):
        missing = ["vit.layernorm.bias", "vit.encoder.layer.1.output.dense.weight"]
        cases = [(self.published(drop=missing), ["'layernorm.bias' is missing", "'encoder.layer.1.output.dense.weight' is"]),
                 (self.published(hidden_size=40), ["expected extents", "classifier.weight"]),
                 (self.published(hidden_act="swoosh"), ["expected gelu, got swoosh"]),
                 (self.published(model_type="bert"), ["expected vit, got bert"])]
        for (folder, _, _), says in cases:
            self.refused("predict", "--images", str(folder / "x.npy"), "--model", str(folder), says=says)

    def test_a_loss_that_is_not_finite_stops_the_run(self):
        self.refused("train", *self.arrays, *SMALL, "--rate", "1e30", "--clip", "0", "--steps", "20",
                     says=["step ", "it first appeared in "])

    def test_bad_images_are_refused(self):
        bad = self.at / "bad"
        (bad / "a").mkdir(parents=True)
        (bad / "b").mkdir()
        (bad / "a/1.pgm").write_bytes(b"P5\n8 8\n255\n" + bytes(64))
        train = ["train", "--data", str(bad), "--steps", "5"]
        self.refused(*train, says=["bad/b: the folder of this class is empty"])
        file = bad / "b/1.pgm"
        for data, says in [(b"", "the file is empty"), (b"hello", "not an image"),
                           (b"P5\n8 8\n255\n" + bytes(63), "too short"),
                           (b"P5\n9 8\n255\n" + bytes(72), "expected 8x8 pixels as ")]:
            file.write_bytes(data)
            self.refused(*train, says=["bad/b/1.pgm: ", says])
        (self.at / "nothing").mkdir()
        self.refused("train", "--data", str(self.at / "nothing"), "--steps", "5", says=["nothing: ", "empty"])
        self.refused("train", "--data", str(self.at / "none"), "--steps", "5", says=["none: no such folder"])

    def test_labels_that_do_not_fit_are_refused(self):
        images, short, large = self.arrays[1], self.at / "short.npy", self.at / "large.npy"
        npy(short, "<i8", "(2,)", bytes(16))
        npy(large, "<i8", "(240,)", struct.pack("<q", 7) * 240)
        self.refused("train", "--images", images, "--labels", str(short), "--steps", "5", says=["(240), got (2)"])
        self.refused("eval", "--images", images, "--labels", str(large), "--model", self.model,
                     says=["large.npy: image 0: expected a label of 0 to 2, got 7"])
        self.refused("train", "--images", images, "--steps", "5", says=["expected --labels"])

    def test_unknown_words_list_the_possible_ones(self):
        self.refused("train", *self.arrays, "--mixer", "fourier", code=2, says=["m2", "softmax"])
        self.refused("train", *self.arrays, "--chanels", "3", code=2, says=["--chanels", "--channels"])
        self.refused("paint", code=2, says=["train", "eval", "predict"])
        self.refused("train", *self.arrays, "--patch", "3", "--steps", "5", says=["a multiple of the patches'"])
        self.refused("train", *self.arrays, "--batch", "0", "--steps", "5", says=["smx-vit: --batch: expected at least 1, got 0"])
        self.refused("predict", *self.arrays, "--model", str(self.at / "images.npy"), says=["images.npy: "])
        self.refused("predict", *self.arrays, "--model", self.model, "--sheet", str(self.at / "sheet.gif"),
                     says=["sheet.gif: expected the name of a .png or .ppm file"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
