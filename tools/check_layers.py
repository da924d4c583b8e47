#!/usr/bin/env python3
"""Dependencies point down: no layer includes one above it. Exit status 1 and one line per violation.

    python3 tools/check_layers.py [REPOSITORY]
"""

import pathlib
import re
import sys

LAYERS = ["base", "data", "network", "operators", "spectrum", "inference", "training", "model", "report", "cli"]
INCLUDE = re.compile(r'^\s*#\s*include\s*["<](?:\.\./)*(?:gradflow/)?(\w+)/', re.MULTILINE)


def violations(root):
    """One message per upward include, in the order of layers, paths and lines."""
    messages = []
    for rank, layer in enumerate(LAYERS):
        folders = [root / "include" / "gradflow" / layer, root / "src" / layer]
        files = sorted(f for folder in folders for f in folder.rglob("*") if f.suffix in {".h", ".cpp"})
        for file in files:
            for included in INCLUDE.findall(file.read_text(encoding="utf-8")):
                if included in LAYERS[rank + 1:]:
                    messages.append(f"{file.relative_to(root)}: '{layer}' may not include '{included}'")
    return messages


def main(arguments):
    root = pathlib.Path(arguments[0] if arguments else ".")
    if not (root / "src").is_dir():
        print(f"check_layers: no folder src in '{root}'", file=sys.stderr)
        return 2
    messages = violations(root)
    for message in messages:
        print(message)
    if not messages:
        print("layers: no upward include")
    return 1 if messages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
