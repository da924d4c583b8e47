#!/usr/bin/env python3
"""The comparer tells slower from noise, and says so of files it cannot use."""

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import compare_bench


def timing(best, median, worst):
    return {"best": best, "median": median, "worst": worst}


class CompareBenchTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def plant(self, name, content):
        file = self.folder / name
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return str(file)

    def run_on(self, old, new, *options):
        """(exit status, standard output, standard error) of a comparison of the two contents."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = compare_bench.main([self.plant("old.json", old), self.plant("new.json", new), *options])
            except SystemExit as end:
                status = end.code
        return status, out.getvalue(), err.getvalue()

    def verdicts(self, old, new, *options):
        """(exit status, {path: verdict})."""
        status, out, err = self.run_on(old, new, *options)
        self.assertEqual(err, "")
        lines = [line for line in out.splitlines() if not line.startswith("warning")]
        at = lines[0].index("verdict")
        return status, {line.split("  ")[0]: line[at:] for line in lines[1:-1]}

    def both_ways(self, old, new):
        return self.verdicts({"t": old}, {"t": new})[1]["t"], self.verdicts({"t": new}, {"t": old})[1]["t"]

    # Timings.

    def test_ranges_that_overlap_are_noise_however_far_the_medians(self):
        self.assertEqual(self.both_ways(timing(1, 1.1, 3), timing(2.5, 9, 9)), ("within noise", "within noise"))
        self.assertEqual(self.both_ways(timing(1, 1, 2), timing(2, 2, 2)), ("within noise", "within noise"))

    def test_one_range_inside_the_other_is_noise(self):
        self.assertEqual(self.both_ways(timing(1, 2, 9), timing(4, 5, 6)), ("within noise", "within noise"))

    def test_ranges_apart_are_faster_or_slower(self):
        self.assertEqual(self.both_ways(timing(1, 2, 3), timing(4, 5, 6)), ("SLOWER", "faster"))

    def test_slower_within_the_threshold_is_said_and_passes(self):
        old, new = {"t": timing(1, 1, 1.01)}, {"t": timing(1.05, 1.06, 1.07)}

        self.assertEqual(self.verdicts(old, new), (0, {"t": "slower"}))
        self.assertEqual(self.verdicts(old, new, "--threshold", "1.05"), (1, {"t": "SLOWER"}))

    def test_of_a_rate_more_is_better(self):
        self.assertEqual(self.both_ways(timing(9, 8, 7), timing(3, 2, 1)), ("SLOWER", "faster"))

    def test_what_stands_beside_a_timing_is_compared_too(self):
        status, found = self.verdicts({"t": {**timing(1, 1, 1), "repeats": 5}},
                                      {"t": {**timing(2, 2, 2), "repeats": 3}})

        self.assertEqual((status, found), (1, {"t": "SLOWER", "t.repeats": "changed"}))

    def test_a_lost_timing_fails_and_one_that_never_was_does_not(self):
        nothing = timing(None, None, None)

        self.assertEqual(self.both_ways(timing(1, 1, 1), nothing), ("LOST", "not finite"))
        self.assertEqual(self.verdicts({"t": nothing}, {"t": nothing}), (0, {"t": "not finite"}))
        self.assertEqual(self.verdicts({"t": timing(1, 1, 1)}, {"t": nothing})[0], 1)

    def test_a_timing_of_zero_has_no_quotient_below_it(self):
        self.assertEqual(self.both_ways(timing(0, 0, 0), timing(1, 1, 1)), ("SLOWER", "faster"))

    # Numbers and texts.

    def test_errors_are_judged_by_the_words_of_their_names(self):
        names = ["rmse", "oracle_rmse", "max_error", "worst_ratio", "mean.deviation"]
        old = {**dict.fromkeys(names, 1.0), "ratio": 1.0, "terror": 1.0, "standard_error": 1.0}
        status, found = self.verdicts(old, dict.fromkeys(old, 2.0))

        self.assertEqual(status, 1)
        self.assertEqual(found, {**dict.fromkeys(names, "WORSE"), "ratio": "changed", "terror": "changed",
                                 "standard_error": "changed"})

    def test_errors_may_get_worse_up_to_the_threshold(self):
        self.assertEqual(self.verdicts({"rmse": 1.0}, {"rmse": 1.09}), (0, {"rmse": "worse"}))
        self.assertEqual(self.verdicts({"rmse": 1.0}, {"rmse": 0.5}), (0, {"rmse": "better"}))
        self.assertEqual(self.verdicts({"rmse": 0.0}, {"rmse": 0.5}), (1, {"rmse": "WORSE"}))

    def test_numbers_that_agree_to_the_shown_digits_are_the_same(self):
        self.assertEqual(self.verdicts({"rmse": 1.0, "n": 0}, {"rmse": 1.00001, "n": 0}),
                         (0, {"rmse": "same", "n": "same"}))

    def test_errors_that_are_no_number_any_more_fail(self):
        old = '{"rmse": 1.0, "a": {"rmse": NaN}, "b": {"rmse": null}, "ratio": 1.0}'
        new = '{"rmse": Infinity, "a": {"rmse": null}, "b": {"rmse": 1.0}, "ratio": NaN}'

        self.assertEqual(self.verdicts(old, new), (1, {"rmse": "LOST", "a.rmse": "not finite", "b.rmse": "not finite",
                                                       "ratio": "not finite"}))

    def test_huge_integers_negative_numbers_and_other_kinds_have_no_quotient(self):
        old = {"huge": 10**400, "error": -1.0, "text": "a", "flag": True, "kind": 1, "list": [1]}
        new = {"huge": 10**400, "error": -2.0, "text": "b", "flag": True, "kind": "1", "list": {"a": 1}}

        self.assertEqual(self.verdicts(old, new), (0, {
            "huge": "not finite", "error": "changed", "text": "changed", "flag": "same", "kind": "changed",
            "list[0]": "only in OLD", "list.a": "only in NEW"}))

    # Pairing.

    def test_missing_entries_are_listed_and_pass(self):
        old = {"same": 1, "gone": {"t": timing(1, 1, 1), "deep": [{"n": 5, "x": 1}]}}
        status, found = self.verdicts(old, {"same": 1, "came": 2})

        self.assertEqual((status, found), (0, {"same": "same", "gone.t": "only in OLD",
                                               "gone.deep[n=5].x": "only in OLD",
                                               "came": "only in NEW"}))

    def test_items_are_paired_by_n_whatever_their_order(self):
        old = {"sizes": [{"n": 500, "t": timing(1, 1, 1)}, {"n": 1000, "t": timing(5, 5, 5)}]}
        new = {"sizes": [{"n": 1000, "t": timing(5, 5, 5)}, {"n": 500, "t": timing(1, 1, 1)}, {"n": 9, "t": 1}]}

        self.assertEqual(self.verdicts(old, new), (0, {"sizes[n=500].t": "within noise",
                                                       "sizes[n=1000].t": "within noise",
                                                       "sizes[n=9].t": "only in NEW"}))

    def test_the_first_key_that_tells_items_apart_is_enough(self):
        old = [{"case": "yacht", "n": 277, "rmse": 1.0}, {"case": "boston", "n": 455, "rmse": 1.0}]
        new = [{"case": "boston", "n": 460, "rmse": 1.0}, {"case": "yacht", "n": 277, "rmse": 1.0}]

        self.assertEqual(self.verdicts(old, new)[1], {
            "[case=yacht].n": "same", "[case=yacht].rmse": "same",
            "[case=boston].n": "changed", "[case=boston].rmse": "same"})

    def test_two_keys_tell_apart_what_one_does_not(self):
        items = [{"name": name, "n": n, "x": n} for name in ("a", "b") for n in (1, 2)]

        self.assertEqual(list(self.verdicts(items, items)[1]),
                         ["[name=a,n=1].x", "[name=a,n=2].x", "[name=b,n=1].x", "[name=b,n=2].x"])

    def test_items_without_identity_are_paired_by_position(self):
        self.assertEqual(self.verdicts({"a": [1, 2], "b": [{"n": 1}, {"n": 1}]}, {"a": [1, 3], "b": [{"n": 1}]}),
                         (0, {"a[0]": "same", "a[1]": "changed", "b[0].n": "same", "b[1].n": "only in OLD"}))

    # What is printed.

    def test_a_machine_or_build_that_differs_is_said_first(self):
        old = {"blas": "OpenBLAS", "threads": 2, "machine": {"cpu": "a"}, "t": timing(1, 1, 1)}
        new = {"blas": "OpenBLAS", "threads": 4, "machine": {"cpu": "b"}, "t": timing(1, 1, 1), "build": "debug"}
        status, out, _ = self.run_on(old, new)

        self.assertEqual(status, 0)
        self.assertEqual(out.splitlines()[:5], [
            "warning: threads differs: 2 -> 4", "warning: machine.cpu differs: a -> b",
            "warning: build differs: - -> debug", "warning: timings of the two files are not comparable",
            "path       old       new  new/old  verdict"])
        self.assertEqual(self.run_on(old, old)[1].splitlines()[0], "path       old       new  new/old  verdict")

    def test_the_table_is_aligned_and_ends_with_the_count(self):
        _, out, _ = self.run_on({"n": 1, "kernel_seconds": timing(1, 1.5, 2), "text": "x", "gone": 0.1},
                                {"n": 2, "kernel_seconds": timing(3, 4.5, 5), "text": "x"})

        self.assertEqual(out, """\
path                   old         new  new/old  verdict
n                        1           2    2.000  changed
kernel_seconds  1.5 [1, 2]  4.5 [3, 5]    3.000  SLOWER
text                     x           x        -  same
gone                   0.1           -        -  only in OLD
1 of 4 figures slower or worse by more than 1.1
""")

    def test_long_texts_are_cut_and_compared_whole(self):
        _, out, _ = self.run_on({"text": "x" * 50 + "a"}, {"text": "x" * 50 + "b"})

        self.assertIn("text  " + "  ".join(["x" * 37 + "..."] * 2) + "        -  changed\n", out)

    def test_only_selects_whole_paths_and_brackets_are_no_wildcards(self):
        old = {"sizes": [{"n": 5, "rmse": 1.0, "t": 1}, {"n": 50, "rmse": 1.0, "t": 1}]}
        new = {"sizes": [{"n": 5, "rmse": 1.0, "t": 1}, {"n": 50, "rmse": 2.0, "t": 1}]}

        self.assertEqual(self.verdicts(old, new, "--only", "sizes[n=5].*"),
                         (0, {"sizes[n=5].rmse": "same", "sizes[n=5].t": "same"}))
        self.assertEqual(self.verdicts(old, new, "--only", "*.rms?"),
                         (1, {"sizes[n=5].rmse": "same", "sizes[n=50].rmse": "WORSE"}))

    # Bad input.

    def expect_refusal(self, result, sentence):
        status, out, err = result
        self.assertEqual((status, out), (2, ""))
        self.assertIn(sentence.replace("FOLDER", str(self.folder)), err)
        self.assertTrue(err.startswith("compare_bench: "), err)
        self.assertEqual(err.count("\n"), 1)

    def test_files_that_cannot_be_used_are_named(self):
        cases = [("", "is not JSON"), ("{", "is not JSON"), (b"\xff\xfe\xff", "is not JSON"),
                 ("[" * 200_000, "is not JSON"), ("3", "is not a benchmark's result"),
                 ("null", "must hold a JSON object")]
        for content, sentence in cases:
            with self.subTest(content[:5]):
                self.expect_refusal(self.run_on({"a": 1}, content), sentence)
                self.expect_refusal(self.run_on({"a": 1}, content), "'FOLDER/new.json'")

    def test_missing_files_and_folders_are_named(self):
        good = self.plant("good.json", {"a": 1})
        for name, reason in [("none.json", "No such file or directory"), ("", "Is a directory")]:
            err = io.StringIO()
            with contextlib.redirect_stderr(err):
                status = compare_bench.main([str(self.folder / name), good])

            self.assertEqual(status, 2)
            self.assertEqual(err.getvalue(), f"compare_bench: cannot read '{self.folder / name}': {reason}\n")

    def test_files_with_nothing_in_common_are_refused(self):
        for old, new in [({}, {}), ({"a": 1}, {"b": 1}), ([1], {"a": 1}), ({"threads": 2}, {"threads": 2})]:
            self.expect_refusal(self.run_on(old, new),
                                "'FOLDER/old.json' and 'FOLDER/new.json' have no figure in common")
        self.expect_refusal(self.run_on({"a": 1}, {"a": 1}, "--only", "b*"), "matches --only 'b*'")

    def test_a_threshold_below_one_is_refused(self):
        for text in ["0.9", "nan", "inf", "x"]:
            status, _, err = self.run_on({"a": 1}, {"a": 1}, "--threshold", text)

            self.assertEqual(status, 2)
            self.assertIn(f"'{text}' must be a number of at least 1", err)

    def test_the_program_exits_with_what_was_found(self):
        old, new = self.plant("old.json", {"t": timing(1, 1, 1)}), self.plant("new.json", {"t": timing(2, 2, 2)})
        for arguments, status in [((old, old), 0), ((old, new), 1), ((old,), 2)]:
            result = subprocess.run([sys.executable, "-B", compare_bench.__file__, *arguments], capture_output=True,
                                    text=True, check=False)
            self.assertEqual(result.returncode, status, result.stderr)


if __name__ == "__main__":
    unittest.main()
