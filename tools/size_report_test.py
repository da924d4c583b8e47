#!/usr/bin/env python3
"""The size report counts what is planted."""

import pathlib
import tempfile
import unittest

import size_report

SOURCE = '''\
#include "a.h"
#define OPEN {

namespace gradflow {
namespace {

const std::vector<int> table = {
    1,
    2,
};
std::function<int(int)> plain{nullptr};

// a comment with { and a 'quote
template <typename T>
  requires std::integral<T>
int sum(T a,
        T b) {
  if (a > b) {
    return '{' + 1'000;
  }
  return a + b;
}

}  // namespace

class Stream : public Base {
 public:
  Stream(int seed, std::string name) : seed_{seed}, name_(std::move(name)), map_{{1, 2}} {
    start();
  }
  int value() const { return value_; }
  bool operator==(const Stream& other) const {
    return true;
  }

 private:
  int value_{3};
  enum class Kind { one, two };
};

std::vector<std::string> Stream::names() const
{
  auto inner = [&](int x) {
    return R"({{{)";
  };
  return {};
}

const auto twice = [](int x) {
  return 2 * x;
};

INSTANTIATE_TEST_SUITE_P(Cases, Stream, testing::Values(Case{1, 2},
                                                        Case{3, 4}));

struct Sized {
  int n = 0;
} sized;

TEST(Stream, CountsItself) {
  EXPECT_TRUE(true);
}

}  // namespace gradflow
'''


class SizeReportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "src").mkdir()
        (self.root / "tools").mkdir()

    def write_function(self, lines):
        body = "  work();\n" * (lines - 2)
        (self.root / "src" / "a.cpp").write_text("void work_a_lot() {\n" + body + "}\n" + "int f() { return 1; }\n" * 30)

    def except_with(self, text):
        (self.root / "tools" / "size_exceptions.txt").write_text(text)

    def test_functions_are_found_with_their_lines(self):
        found = {name: lines for name, _, lines in size_report.cpp_functions(SOURCE)}

        self.assertEqual(found, {"sum": 9, "Stream": 3, "value": 1, "operator==": 3, "Stream::names": 7, "twice": 3,
                                 "TEST(Stream,CountsItself)": 3})

    def test_sixty_lines_are_within_the_budget(self):
        self.write_function(60)

        self.assertTrue(size_report.report(self.root)[1])

    def test_sixty_one_lines_need_a_reason(self):
        self.write_function(61)

        lines, good = size_report.report(self.root)

        self.assertFalse(good)
        self.assertIn("src/a.cpp:work_a_lot: 61 lines, limit 60: no reason in tools/size_exceptions.txt", lines)

    def test_a_listed_reason_is_printed_and_accepted(self):
        self.write_function(61)
        self.except_with("# comment\nsrc/a.cpp:work_a_lot one table of cases\n")

        lines, good = size_report.report(self.root)

        self.assertTrue(good, lines)
        self.assertIn("src/a.cpp:work_a_lot: 61 lines, limit 60: one table of cases", lines)

    def test_a_reason_no_longer_needed_is_refused(self):
        self.write_function(10)
        self.except_with("src/a.cpp:work_a_lot one table of cases\n")

        self.assertFalse(size_report.report(self.root)[1])

    def test_a_long_file_needs_a_reason(self):
        (self.root / "src" / "long.h").write_text("\n" * 451)

        self.assertFalse(size_report.report(self.root)[1])


if __name__ == "__main__":
    unittest.main()
