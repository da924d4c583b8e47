"""The pages under docs/python and the notebook are run, and what they print is what they say.

GRADFLOW_WRITE_DOCS=1 writes the outputs and figures into the pages instead of comparing them.
"""

import contextlib
import importlib.util
import io
import os
import re
import warnings

import pytest
from conftest import ROOT

DOCS = ROOT / "docs" / "python"
PAGES = {"worth-it": "matplotlib", "how-long": "matplotlib", "how-sure": "matplotlib", "torch": "torch"}
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)


def run_block(code, namespace):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "page", "exec"), namespace)
    return printed.getvalue()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_prints_what_it_says_and_makes_its_figure(page, tmp_path, monkeypatch):
    if importlib.util.find_spec(PAGES[page]) is None:
        pytest.skip(f"no {PAGES[page]} here: docs/python/{page}.md was left out")
    write = os.environ.get("GRADFLOW_WRITE_DOCS") == "1"
    monkeypatch.chdir(DOCS if write else tmp_path)
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    namespace = {}

    def check(match):
        code, said = match.groups()
        printed = run_block(code, namespace)
        if not write:
            assert printed == (said or "")
        output = f"\n```text\n{printed}```\n" if printed else ""
        return f"```python\n{code}```\n{output}"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if page != "torch":
            import matplotlib

            matplotlib.use("Agg")
            matplotlib.rcParams["svg.hashsalt"] = "gradflow"
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        rewritten = BLOCK.sub(check, text)
    figures = re.findall(r"!\[.*?\]\((.*?\.svg)\)", text)
    assert all(os.path.getsize(figure) > 2000 for figure in figures)
    assert len(figures) == (0 if page == "torch" else 1)
    if write:
        (DOCS / f"{page}.md").write_text(rewritten, encoding="utf-8")


def test_the_notebook_goes_from_install_to_a_decision(tmp_path):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(DOCS / "decision.ipynb", as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )

    assert "warranted: yes" in printed
    assert "stop after" in printed
    assert re.search(r"covered: 0\.9\d|covered: 1\.00", printed)


def test_the_reference_is_what_the_docstrings_say():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "python" / "reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    page = DOCS / "reference.md"
    if os.environ.get("GRADFLOW_WRITE_DOCS") == "1":
        page.write_text(reference.page(), encoding="utf-8")
    assert page.read_text(encoding="utf-8") == reference.page(), "run GRADFLOW_WRITE_DOCS=1 ./x python"
