# SPDX-License-Identifier: Apache-2.0
"""Shows that check.py finds each kind of violation, one at a time, in a tree made for it."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = pathlib.Path(__file__).with_name("check.py")
HEADER = "// SPDX-License-Identifier: Apache-2.0\n/// \\file  A header.\n#pragma once\n"


def run(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            file = pathlib.Path(root, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        done = subprocess.run([sys.executable, str(CHECK), root], capture_output=True, text=True)
        return done.returncode, done.stdout


class Check(unittest.TestCase):
    def rejects(self, files, message):
        code, output = run(files)
        self.assertEqual(code, 1, output)
        self.assertIn(message, output)
        self.assertIn("1 violations", output)

    def test_accepts_downward_includes(self):
        code, output = run(
            {
                "include/smx/core/a.hpp": HEADER + "#include <vector>\n#define SMX_A 1\n",
                "include/smx/mixers/b.hpp": HEADER + "#include <smx/core/a.hpp>\n",
                "include/smx/backend/cpu/c.hpp": HEADER + "#include <Eigen/Core>\n#include <immintrin.h>\n",
                "tests/d.cpp": "// SPDX-License-Identifier: Apache-2.0\n#include <smx/backend/cpu/c.hpp>\n",
            }
        )
        self.assertEqual(code, 0, output)

    def test_upward_include(self):
        self.rejects({"include/smx/core/a.hpp": HEADER + "#include <smx/mixers/b.hpp>\n"}, "core must not include mixers")

    def test_mixer_includes_a_backend(self):
        for backend in ("backend/cpu.hpp", "backend/cpu/pool.hpp"):
            self.rejects({"include/smx/mixers/a.hpp": HEADER + f"#include <smx/{backend}>\n"}, "mixers must not include cpu")

    def test_umbrella_includes_a_backend(self):
        self.rejects({"include/smx/smx.hpp": HEADER + "#include <smx/backend/cpu.hpp>\n"}, "umbrella must not include cpu")

    def test_io_includes_more_than_core(self):
        self.rejects({"include/smx/io/a.hpp": HEADER + "#include <smx/backend/plan.hpp>\n"}, "io must not include backend")

    def test_eigen_outside_of_the_cpu_backend(self):
        self.rejects({"include/smx/mixers/a.hpp": HEADER + "#include <Eigen/Core>\n"}, "only backend/cpu includes Eigen")

    def test_core_includes_the_system(self):
        self.rejects({"include/smx/core/a.hpp": HEADER + "#include <unistd.h>\n"}, "core must not include <unistd.h>")

    def test_heavy_standard_header(self):
        self.rejects({"include/smx/core/a.hpp": HEADER + "#include <iostream>\n"}, "too heavy")

    def test_relative_include(self):
        self.rejects({"include/smx/core/a.hpp": HEADER + '#include "b.hpp"\n'}, "full path")

    def test_long_header(self):
        self.rejects({"include/smx/core/a.hpp": HEADER + "\n" * 420}, "423 lines")

    def test_first_lines(self):
        self.rejects({"include/smx/core/a.hpp": HEADER.replace("Apache", "MIT")}, "SPDX")
        self.rejects({"include/smx/core/a.hpp": HEADER.replace("\\file", "")}, "\\file")
        self.rejects({"include/smx/core/a.hpp": HEADER.replace("once", "")}, "#pragma once")

    def test_macros(self):
        self.rejects({"include/smx/core/a.hpp": HEADER + "#define A 1\n"}, "the macro A")
        many = "".join(f"#define SMX_{i} 1\n" for i in range(10))
        self.rejects({"include/smx/core/a.hpp": HEADER + many}, "10 macros, allowed are 9")

    def test_empty_tree(self):
        self.assertEqual(run({})[0], 1)


if __name__ == "__main__":
    unittest.main()
