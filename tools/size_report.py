#!/usr/bin/env python3
"""How long files and functions are, against the budget: file <= 450 lines, function <= 60.

    python3 tools/size_report.py [REPOSITORY]

Prints a summary and everything over the budget. Exit status 1 when something over it has no line in
tools/size_exceptions.txt ("PATH REASON" or "PATH:FUNCTION REASON"), when a line there is no longer needed, or
when more than 5 % of the functions are over.

Functions of C++ are found by matching braces outside of functions, which needs no compiler and is right for
code formatted by clang-format: a brace opens a namespace, a type, an initialiser or a function.
"""

import ast
import pathlib
import re
import statistics
import sys

FILE_LIMIT = 450
FUNCTION_LIMIT = 60
EXCEPTION_SHARE = 0.05
FOLDERS = ["include", "src", "tests", "fuzz", "bench", "examples", "tools", "python"]
BLANKED = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-zA-Z_])'(?:\\.|[^'\\\n])+'|^[ \t]*#(?:\\\n|[^\n])*", re.DOTALL | re.MULTILINE)
SCOPE = re.compile(r'\b(?:namespace|class|struct|union|enum)\b|\bextern\s*$')
LAMBDA = re.compile(r'=\s*\[[^\]]*\][^;]*$')


def blank(text):
    """The same text, same line breaks, without comments, literals and preprocessor lines."""
    return BLANKED.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def closing(text, opening):
    """Position of the brace that closes the one at `opening`."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, opening):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.start()
    return len(text)


def name_of(header):
    """The function's name from what stands before its body; TEST(Suite, Name) is its own name."""
    macro = re.match(r"\s*([A-Z][A-Z_]+)\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)", header)
    if macro:
        return "{}({},{})".format(*macro.groups())
    named = re.search(r"([\w:~]+|operator\s*\S+?)\s*(?:=\s*\[[^\]]*\]\s*)?\(", header)
    return named.group(1) if named else "?"


def cpp_functions(source):
    """(name, first line, number of lines) of every function body at namespace or class level."""
    text, functions, start, position = blank(source), [], 0, 0
    while (found := re.compile(r"[{};]").search(text, position)) is not None:
        position = found.end()
        if found.group() != "{":
            start = position
            continue
        header = re.sub(r"^\s*(?:(?:public|private|protected)\s*:\s*)+", lambda m: " " * len(m.group()),
                        text[start:found.start()])
        bare = re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", header))
        is_lambda = LAMBDA.search(header) is not None
        if SCOPE.search(bare) and "(" not in bare.split("alignas")[0] or re.search(r"\bextern\s*$", bare):
            start = position  # what is inside is read at the same level
            continue
        end = closing(text, found.start())
        following = text[end + 1:end + 200].lstrip()[:1]
        position = end + 1
        if following in {",", "{", ")"}:
            continue  # a member initialiser a_{x} or an argument: what it stands in is not over yet
        if "(" in header and (following != ";" or is_lambda):
            first = source.count("\n", 0, start + len(header) - len(header.lstrip())) + 1
            functions.append((name_of(header), first, source.count("\n", 0, end) + 1 - first + 1))
        start = position
    return functions


def python_functions(source):
    return [(node.name, node.lineno, node.end_lineno - node.lineno + 1)
            for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def measure(root):
    """({path: lines}, [("path:function", lines)]) of the repository's own code."""
    files, functions = {}, []
    for folder in FOLDERS:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in {".h", ".cpp", ".py"}:
                continue
            path, source = file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")
            files[path] = source.count("\n")
            found = python_functions(source) if file.suffix == ".py" else cpp_functions(source)
            functions += [(f"{path}:{name}", lines) for name, _, lines in found]
    return files, functions


def read_exceptions(root):
    file = root / "tools" / "size_exceptions.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    entries = (line.split(None, 1) for line in lines if line.strip() and not line.startswith("#"))
    return {entry[0]: entry[1] if len(entry) > 1 else "" for entry in entries}


def summary(what, sizes, limit):
    if not sizes:
        return f"{what}: none"
    ordered = sorted(sizes)
    over = sum(size > limit for size in ordered)
    return (f"{what}: {len(ordered)}, median {statistics.median_low(ordered)} lines, "
            f"p90 {ordered[int(0.9 * (len(ordered) - 1))]}, longest {ordered[-1]}, "
            f"over {limit}: {over} ({100 * over / len(ordered):.1f} %)")


def report(root):
    """(lines to print, True when within the budget)."""
    files, functions = measure(root)
    exceptions = read_exceptions(root)
    lines = [summary("files", files.values(), FILE_LIMIT),
             summary("functions", [size for _, size in functions], FUNCTION_LIMIT)]
    over = {path: (size, FILE_LIMIT) for path, size in files.items() if size > FILE_LIMIT}
    long_functions = [(key, (size, FUNCTION_LIMIT)) for key, size in functions if size > FUNCTION_LIMIT]
    over.update(long_functions)
    good = True
    for key, (size, limit) in over.items():
        reason = exceptions.get(key, "")
        good = good and reason != ""
        lines.append(f"{key}: {size} lines, limit {limit}: {reason or 'no reason in tools/size_exceptions.txt'}")
    for key in exceptions.keys() - over.keys():
        good = False
        lines.append(f"tools/size_exceptions.txt: '{key}' is within the budget or gone; remove the line")
    if len(long_functions) > EXCEPTION_SHARE * len(functions):
        good = False
        lines.append(f"more than {100 * EXCEPTION_SHARE:.0f} % of the functions are over {FUNCTION_LIMIT} lines")
    return lines, good


if __name__ == "__main__":
    printed, within_budget = report(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(printed))
    sys.exit(0 if within_budget else 1)
