#!/usr/bin/env python3
"""The layer check finds what is planted, and nothing else."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import check_layers

CHECKER = pathlib.Path(__file__).with_name("check_layers.py")


class CheckLayersTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("src/base/random.cpp", '#include "gradflow/base/random.h"\n#include <vector>\n')

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def test_a_tree_that_points_down_passes(self):
        self.write("src/report/text.cpp", '#include "gradflow/base/types.h"\n#include "gradflow/model/model.h"\n')

        self.assertEqual(check_layers.violations(self.root), [])

    def test_an_upward_include_in_a_source_is_named(self):
        self.write("src/data/oops.h", '#pragma once\n#include "gradflow/inference/stop.h"\n')

        self.assertEqual(check_layers.violations(self.root),
                         ["src/data/oops.h: 'data' may not include 'inference'"])

    def test_an_upward_include_in_a_public_header_is_named(self):
        self.write("include/gradflow/network/n.h", '#  include <gradflow/cli/options.h>\n')

        self.assertEqual(check_layers.violations(self.root),
                         ["include/gradflow/network/n.h: 'network' may not include 'cli'"])

    def test_private_and_relative_paths_upward_are_found_too(self):
        self.write("src/base/a.cpp", '#include "data/csv.h"\n#include "../report/json.h"\n')

        self.assertEqual(len(check_layers.violations(self.root)), 2)

    def test_a_commented_include_is_not_an_include(self):
        self.write("src/base/a.cpp", '// #include "gradflow/data/table.h"\n')

        self.assertEqual(check_layers.violations(self.root), [])

    def test_every_layer_of_the_build_is_known_in_the_same_order(self):
        build = (CHECKER.parent.parent / "CMakeLists.txt").read_text()
        names = [line.split("(")[1].split()[0] for line in build.splitlines() if line.startswith("gradflow_layer(")]

        self.assertEqual(names, check_layers.LAYERS[:-1])

    def test_the_program_prints_the_violation_and_exits_with_1(self):
        self.write("src/data/oops.h", '#include "gradflow/inference/stop.h"\n')

        run = subprocess.run([sys.executable, CHECKER, self.root], capture_output=True, text=True)

        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stdout, "src/data/oops.h: 'data' may not include 'inference'\n")


if __name__ == "__main__":
    unittest.main()
