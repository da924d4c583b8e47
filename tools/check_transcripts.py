#!/usr/bin/env python3
"""Runs the commands shown in the documentation and compares what they print.

    check_transcripts.py PROGRAM SOURCE_DIR

A transcript is a fenced block whose first line is `$ COMMAND`. Commands run in a fresh folder that holds the example
data; `$ cat FILE` of a file that does not exist yet makes it. Numbers must agree to 0.2 % (or 1e-9 absolutely, for what is zero but for
rounding), all else to the letter; `[exit N]` states an exit code other than 0. A fenced `cpp` block of the README must be the consumer's main.cpp.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


def blocks(text):
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S):
        yield language, body


def commands(body):
    """Splits a transcript into (command, expected output)."""
    for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.strip("\n")


def close(a, b):
    a, b = float(a), float(b)
    return abs(a - b) <= max(1e-9, 2e-3 * abs(b))


def same_line(got, expected):
    squeeze = lambda line: re.sub(r"\s+", " ", NUMBER.sub("#", line)).strip()
    numbers = NUMBER.findall(got), NUMBER.findall(expected)
    return squeeze(got) == squeeze(expected) and len(numbers[0]) == len(numbers[1]) and all(map(close, *numbers))


def check(command, expected, folder, environment):
    """Returns the complaints about one command."""
    match = re.fullmatch(r"cat (\S+)", command)
    if match and not (folder / match[1]).exists():
        (folder / match[1]).write_text(expected + "\n")
        return []
    result = subprocess.run(command, shell=True, cwd=folder, env=environment, text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    code = re.search(r"^\[exit (\d+)\]$", expected, re.M)
    wanted = [line for line in expected.split("\n") if not line.startswith("[exit ")]
    got = result.stdout.strip("\n").split("\n")
    complaints = []
    if result.returncode != (int(code[1]) if code else 0):
        complaints.append(f"$ {command}\n  exit code {result.returncode}")
    if len(got) != len(wanted):
        complaints.append(f"$ {command}\n  printed {len(got)} lines, the document shows {len(wanted)}")
    complaints += [f"$ {command}\n  printed  {g}\n  document {w}" for g, w in zip(got, wanted) if not same_line(g, w)]
    return complaints


def main(program, source):
    source = pathlib.Path(source)
    complaints, run = [], 0
    environment = dict(os.environ, PATH=f"{pathlib.Path(program).resolve().parent}:{os.environ['PATH']}")
    for document in (source / "README.md", source / "docs/session.md", source / "docs/tests.md", source / "docs/classes.md"):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            shutil.copytree(source / "examples", folder / "examples")
            shutil.copy(source / "examples/penguins.csv", folder)
            (folder / "out").mkdir()
            for language, body in blocks(document.read_text()):
                if language == "cpp" and body != (source / "tests/package/consumer/main.cpp").read_text():
                    complaints.append(f"{document.name}: the C++ example is not tests/package/consumer/main.cpp")
                if body.startswith("$ "):
                    for command, expected in commands(body):
                        run += 1
                        complaints += check(command, expected, folder, environment)
    print("\n".join(complaints) if complaints else f"transcripts: {run} commands print what the documents show")
    return 1 if complaints or run == 0 else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
