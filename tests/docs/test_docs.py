# SPDX-License-Identifier: Apache-2.0
"""The checks of the documentation find each kind of problem: they are run on small trees that have one."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent


def run(script, *arguments):
    done = subprocess.run([sys.executable, HERE / script, *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


class Tree(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        self.write("include/smx/a.hpp", "")
        self.write("docs/index.md", "# Index\n\n## One more: `b`\n")

    def tearDown(self):
        self.folder.cleanup()

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file


class Links(Tree):
    def check(self, readme):
        self.write("README.md", readme + "\n[index](docs/index.md)\n")
        return run("check_links.py", self.root)

    def test_what_is_there_passes(self):
        code, output = self.check(
            "[a](docs/index.md#one-more-b) [b](https://example.org/x) `smx/a.hpp` `<smx/a.hpp>` `include/smx/a.hpp`\n"
            "```cpp\n#include <smx/a.hpp>\nauto x = a[i](j);\n```\n")
        self.assertEqual(code, 0, output)

    def test_each_problem_is_found(self):
        for readme, words in [
            ("[a](docs/none.md)", "no docs/none.md"),
            ("[a](docs/index.md#none)", "no heading"),
            ("see `scripts/none.sh`", "no scripts/none.sh"),
            ("see `<smx/none.hpp>`", "no smx/none.hpp"),
            ("```cpp\n#include <smx/none.hpp>\n```", "no header <smx/none.hpp>"),
        ]:
            code, output = self.check(readme)
            self.assertEqual(code, 1, readme)
            self.assertIn("README.md:", output)
            self.assertIn(words, output)

    def test_a_page_that_nobody_links_is_found(self):
        self.write("docs/lost.md", "# Lost\n")
        code, output = self.check("")
        self.assertEqual(code, 1)
        self.assertIn("docs/lost.md:1: linked neither", output)


class Extract(Tree):
    def check(self, text, *names):
        return run("extract.py", self.write("a.md", text), self.root / "out", *names)

    def test_programs_become_files(self):
        code, output = self.check("x\n<!-- program: one -->\n```cpp\nint main() {}\n```\n```cpp\nno\n```\n", "one")
        self.assertEqual(code, 0, output)
        self.assertEqual((self.root / "out" / "one.cpp").read_text(), "int main() {}\n")

    def test_a_program_that_is_not_compiled_is_found(self):
        program = "<!-- program: {} -->\n```cpp\nint main() {{}}\n```\n"
        for text, names in [
            (program.format("one") + program.format("two"), ["one"]),
            (program.format("one"), ["one", "two"]),
            ("<!-- program: one -->\nno block\n", ["one"]),
        ]:
            self.assertEqual(self.check(text, *names)[0], 1, text)


class Table(Tree):
    def setUp(self):
        super().setUp()
        self.program = self.write("program", "#!/bin/sh\necho '| a |'\n")
        self.program.chmod(0o755)

    def check(self, text, *options):
        self.file = self.write("a.md", text)
        return run("support_table.py", self.file, self.program, *options)

    def test_a_table_out_of_date_is_found_and_replaced(self):
        text = "x\n<!-- support table: begin, made -->\n{}<!-- support table: end -->\ny\n"
        self.assertEqual(self.check(text.format("| a |\n"))[0], 0)
        code, output = self.check(text.format("| b |\n"))
        self.assertEqual(code, 1)
        self.assertIn("scripts/support_table.sh", output)
        self.assertEqual(self.check(text.format("| b |\n"), "--write")[0], 0)
        self.assertEqual(self.file.read_text(), text.format("| a |\n"))

    def test_a_file_without_a_table_is_found(self):
        self.assertEqual(self.check("none\n")[0], 1)


if __name__ == "__main__":
    unittest.main()
