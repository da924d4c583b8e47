"""docs/python/reference.md from the docstrings: python python/reference.py prints the page."""

import ast
import inspect
import pathlib
import textwrap

PACKAGE = pathlib.Path(__file__).resolve().parent / "gradflow"
SOURCES = ["_regressor.py", "_classifier.py", "_functions.py", "_report.py", "torch.py", "_warnings.py"]
PARTS = {"torch.py": "gradflow.torch."}


def signature(node):
    """As written, without the module's own names of defaults resolved."""
    return f"{node.name}({ast.unparse(node.args)})" if isinstance(node, ast.FunctionDef) else node.name


def documented(body):
    return [
        node
        for node in body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
        and ast.get_docstring(node)
    ]


def entry(node, prefix, level):
    """The heading and docstring of a class or function, and of a class's methods."""
    call = signature(node)
    if isinstance(node, ast.ClassDef):
        start = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        call += f"({ast.unparse(start[0].args).removeprefix('self, ')})" if start else ""
    name = call.split("(")[0]
    text = f"{'#' * level} {prefix}{name}\n\n"
    if "(" in call:
        wrapped = textwrap.fill(call, 110, subsequent_indent="    ", break_long_words=False)
        text += f"```python\n{wrapped}\n```\n\n"
    text += f"```text\n{inspect.cleandoc(ast.get_docstring(node))}\n```\n\n"
    if isinstance(node, ast.ClassDef):
        text += "".join(entry(each, f"{node.name}.", level + 1) for each in documented(node.body))
    return text


def page():
    text = "# Reference of the Python package\n\nMade from the docstrings by `python/reference.py`.\n\n"
    for source in SOURCES:
        tree = ast.parse((PACKAGE / source).read_text(encoding="utf-8"))
        public = documented(tree.body)
        if source not in PARTS:
            exported = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
            names = [
                ast.literal_eval(node.value)
                for node in exported.body
                if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
            ][0]
            public = [node for node in public if node.name in names]
        text += "".join(entry(node, PARTS.get(source, "gradflow."), 2) for node in public)
    return text.rstrip("\n") + "\n"


if __name__ == "__main__":
    print(page(), end="")
