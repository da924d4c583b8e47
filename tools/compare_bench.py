#!/usr/bin/env python3
"""Two files that ./x bench NAME wrote, figure by figure: what got slower, what got worse, what is only noise.

    python3 tools/compare_bench.py OLD.json NEW.json [--threshold RATIO] [--only GLOB]

Entries are paired by their path. Items of a list are paired by the first of name, case, rule, ... that tells them
apart (several together where one does not), otherwise by position. How an entry is judged:

  timing   {"best", "median", "worst"}: "within noise" when the ranges from best to worst overlap, otherwise "faster"
           or "slower" by the medians. Lower is better; where best > worst (a rate), higher is better.
  error    a number whose name has the word error, rmse, mse, mae, deviation or worst, and not standard: "better" or
           "worse". Lower is better.
  other    everything else, ratios too (their names do not say which way is better): "same" or "changed".

Numbers outside timings have no range; they are the "same" when they agree to the four digits shown.

Capitals mark what fails: a timing SLOWER or an error WORSE by more than the threshold, and a timing or an error that
was a finite number and is none now (LOST). Entries in one file only are listed and do not fail.
A machine, number of threads, BLAS or build that differs is said first: then no timing can be compared, though the
exit status still follows the table.

Exit status: 0 the same or better, 1 something fails, 2 a file cannot be used or the two have nothing in common.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

IDENTITY = ("name", "case", "rule", "label", "id", "kernel", "network", "operator", "n", "p", "size", "threads")
ENVIRONMENT = {"machine", "host", "cpu", "gpu", "device", "threads", "blas", "build", "compiler"}
LOWER_IS_BETTER = {"error", "errors", "rmse", "mse", "mae", "deviation", "worst"}
SPREAD = ("best", "median", "worst")
SAME_DIGITS = 5e-5  # relative difference of numbers that agree to the four digits shown
LONGEST_TEXT = 40

Path = tuple[str, ...]  # names of objects' entries and "[...]" for items of lists


class BadInput(Exception):
    """The sentence says which file cannot be used, and why."""


class Timing(NamedTuple):
    best: float
    median: float
    worst: float

    def finite(self) -> bool:
        return all(map(math.isfinite, self))

    def is_rate(self) -> bool:
        return self.best > self.worst

    def overlaps(self, other: Timing) -> bool:
        return min(self) <= max(other) and min(other) <= max(self)


class Absent:
    """Stands for an entry that the other file has."""


ABSENT = Absent()


class Row(NamedTuple):
    path: str
    old: str
    new: str
    ratio: str
    verdict: str

    def fails(self) -> bool:
        return self.verdict.isupper()


# Reading and pairing.

def read(file: str) -> Any:
    try:
        with open(file, "rb") as stream:
            document = json.loads(stream.read())
    except OSError as error:
        raise BadInput(f"cannot read '{file}': {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"'{file}' is not JSON: {error}") from error
    if not isinstance(document, (dict, list)):
        raise BadInput(f"'{file}' is not a benchmark's result: it must hold a JSON object or list")
    return document


def is_number(value: Any) -> bool:
    """null too: it is how JSON writes what is not finite."""
    return value is None or isinstance(value, (int, float)) and not isinstance(value, bool)


def as_float(value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf


def entries(value: dict[str, Any]) -> dict[str, Any]:
    """The entries of an object; a timing among them gets the name "", beside what else stands there."""
    if not all(key in value and is_number(value[key]) for key in SPREAD):
        return value
    rest = {key: entry for key, entry in value.items() if key not in SPREAD}
    return {"": Timing(*(as_float(value[key]) for key in SPREAD)), **rest}


def identity(old: list[Any], new: list[Any]) -> tuple[str, ...]:
    """The keys by which items are paired; none when they are to be paired by position."""
    def known(key: str) -> bool:
        return all(isinstance(item, dict) and isinstance(item.get(key), (str, int, float)) for item in old + new)

    keys = tuple(key for key in IDENTITY if known(key))
    for count in range(1, len(keys) + 1):
        if all(len(by_identity(items, keys[:count])) == len(items) for items in (old, new)):
            return keys[:count]
    return ()


def by_identity(items: list[Any], keys: tuple[str, ...]) -> dict[str, Any]:
    if not keys:
        return {f"[{i}]": item for i, item in enumerate(items)}
    return {"[" + ",".join(f"{key}={item[key]}" for key in keys) + "]":
            {key: entry for key, entry in item.items() if key not in keys} for item in items}


def pairs(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """(path, old, new) of every timing, number and text of either document; ABSENT where one has none."""
    kinds = {type(value) for value in (old, new) if value is not ABSENT}
    if kinds == {dict}:
        old, new = ({} if value is ABSENT else entries(value) for value in (old, new))
    elif kinds == {list}:
        old, new = ([] if value is ABSENT else value for value in (old, new))
        keys = identity(old, new)
        old, new = by_identity(old, keys), by_identity(new, keys)
    elif kinds & {dict, list}:
        yield from pairs(old, ABSENT, path)
        yield from pairs(ABSENT, new, path)
        return
    else:
        yield path, old, new
        return
    for key in {**old, **new}:
        yield from pairs(old.get(key, ABSENT), new.get(key, ABSENT), path + (key,) if key else path)


# Judging.

def lower_is_better(path: Path) -> bool:
    name = next((part for part in reversed(path) if not part.startswith("[")), "")
    words = set(re.split(r"[\W_]+", name.lower()))
    return bool(words & LOWER_IS_BETTER) and "standard" not in words


def quotient(old: float, new: float) -> float | None:
    """new / old; None where it says nothing: a sign, or no finite number."""
    if not (math.isfinite(old) and math.isfinite(new)) or old < 0 or new < 0:
        return None
    if old == 0:
        return 1.0 if new == 0 else math.inf
    return new / old


def judge_timing(old: Timing, new: Timing, threshold: float) -> str:
    if not (old.finite() and new.finite()):
        return "LOST" if old.finite() else "not finite"
    if old.overlaps(new):
        return "within noise"
    rate = old.is_rate() or new.is_rate()
    slowdown = quotient(new.median, old.median) if rate else quotient(old.median, new.median)
    if slowdown is None:
        return "changed"
    return "SLOWER" if slowdown > threshold else "slower" if slowdown > 1 else "faster"


def judge_number(path: Path, old: float, new: float, threshold: float) -> str:
    judged = lower_is_better(path)
    if not (math.isfinite(old) and math.isfinite(new)):
        return "LOST" if judged and math.isfinite(old) else "not finite"
    if abs(new - old) <= SAME_DIGITS * abs(old):
        return "same"
    ratio = quotient(old, new)
    if not judged or ratio is None:
        return "changed"
    return "WORSE" if ratio > threshold else "worse" if ratio > 1 else "better"


def compare(path: Path, old: Any, new: Any, threshold: float) -> Row:
    ratio: float | None = None
    if old is ABSENT or new is ABSENT:
        verdict = "only in OLD" if new is ABSENT else "only in NEW"
    elif isinstance(old, Timing) and isinstance(new, Timing):
        verdict, ratio = judge_timing(old, new, threshold), quotient(old.median, new.median)
    elif is_number(old) and is_number(new):
        before, after = as_float(old), as_float(new)
        verdict, ratio = judge_number(path, before, after, threshold), quotient(before, after)
    else:
        verdict = "same" if old == new else "changed"
    return Row(shown_path(path), shown(old), shown(new), "-" if ratio is None else f"{ratio:#.4g}", verdict)


# Printing.

def shown_path(path: Path) -> str:
    return ".".join(path).replace(".[", "[")


def shown(value: Any) -> str:
    if value is ABSENT:
        return "-"
    if isinstance(value, Timing):
        return f"{value.median:.4g} [{value.best:.4g}, {value.worst:.4g}]"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT - 3] + "..."


def warnings(found: Iterable[tuple[Path, Any, Any]]) -> list[str]:
    lines = [f"warning: {shown_path(path)} differs: {'-' if old is ABSENT else old} -> {'-' if new is ABSENT else new}"
             for path, old, new in found if old != new]
    return lines + ["warning: timings of the two files are not comparable"] if lines else []


def table(rows: list[Row]) -> list[str]:
    rows = [Row("path", "old", "new", "new/old", "verdict"), *rows]
    path, old, new, ratio, _ = (max(map(len, column)) for column in zip(*rows))
    return [f"{row.path:<{path}}  {row.old:>{old}}  {row.new:>{new}}  {row.ratio:>{ratio}}  {row.verdict}"
            for row in rows]


def selected(rows: list[Row], only: str) -> list[Row]:
    """The rows whose whole path matches; [ and ] stand for themselves."""
    pattern = re.compile(re.escape(only).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
    return [row for row in rows if pattern.fullmatch(row.path)]


def report(old_file: str, new_file: str, threshold: float, only: str) -> tuple[list[str], bool]:
    """(lines to print, True when nothing fails)."""
    found = list(pairs(read(old_file), read(new_file)))
    environment = [entry for entry in found if entry[0] and entry[0][0] in ENVIRONMENT]
    figures = [entry for entry in found if not (entry[0] and entry[0][0] in ENVIRONMENT)]
    if all(ABSENT in (old, new) for _, old, new in figures):
        raise BadInput(f"'{old_file}' and '{new_file}' have no figure in common")
    rows = selected([compare(*entry, threshold) for entry in figures], only)
    if not rows:
        raise BadInput(f"no figure of '{old_file}' or '{new_file}' matches --only '{only}'")
    failing = [row for row in rows if row.fails()]
    count = f"{len(failing)} of {len(rows)} figures" if failing else "nothing"
    return [*warnings(environment), *table(rows), f"{count} slower or worse by more than {threshold:g}"
            + (", or lost" if any(row.verdict == "LOST" for row in failing) else "")], not failing


def ratio_argument(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' must be a number of at least 1")
    return value


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="compare_bench", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument("--threshold", metavar="RATIO", type=ratio_argument, default=1.1,
                        help="what gets slower or worse by more than this fails (default: 1.1)")
    parser.add_argument("--only", metavar="GLOB", default="*",
                        help="only the paths that match; * and ? are wild, [ and ] are not")
    options = parser.parse_args(arguments)
    try:
        lines, good = report(options.old, options.new, options.threshold, options.only)
    except BadInput as problem:
        print(f"compare_bench: {problem}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0 if good else 1


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader such as head may have seen enough
    sys.exit(main(sys.argv[1:]))
