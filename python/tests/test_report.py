"""The page from Python is the program's page."""

import pathlib
import shutil
import subprocess

import gradflow
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(shutil.which("gnuplot") is None, reason="gnuplot is not installed")


@pytest.fixture(scope="module")
def fitted():
    random = np.random.default_rng(1)
    X = random.normal(size=(80, 3))
    return gradflow.NTKRegressor().fit(X, np.sin(X[:, 0]) + 0.3 * random.normal(size=80))


def test_a_fit_has_a_page_with_its_figures(fitted):
    page = gradflow.report(fitted)

    assert page.html.startswith("<!DOCTYPE html>")
    assert "Training is warranted" in page.html
    assert page.figures and not page.missing
    assert all("<svg" in svg for svg in page.figures.values())
    assert "srcdoc" in page._repr_html_()


def test_a_saved_model_has_the_same_page_in_python_and_by_the_program(fitted, tmp_path, program):
    model = tmp_path / "a.model"
    fitted.save(model)

    page = gradflow.report(model)
    page.save(tmp_path / "python.html")
    subprocess.run([program, "report", str(model), "-o", str(tmp_path / "program.html")], check=True,
                   capture_output=True)

    assert pathlib.Path(tmp_path / "python.html").read_bytes() == (tmp_path / "program.html").read_bytes()
    assert "Training is warranted" in gradflow.report(gradflow.load(model)).html


def test_figures_are_written_beside_each_other(fitted, tmp_path):
    page = gradflow.report(fitted)

    page.save_figures(tmp_path / "figures")

    assert {file.stem for file in (tmp_path / "figures").iterdir()} == set(page.figures)


def test_classes_have_a_page(tmp_path):
    random = np.random.default_rng(2)
    X = random.normal(size=(60, 2))
    fitted = gradflow.NTKClassifier().fit(X, np.where(X[:, 0] + random.normal(size=60) > 0.0, "up", "down"))
    fitted.save(tmp_path / "c.model")

    assert "up" in gradflow.report(fitted).html
    assert "up" in gradflow.report(gradflow.load(tmp_path / "c.model")).html


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "no.json").write_text("[1, 2]")

    with pytest.raises(ValueError, match="no.json"):
        gradflow.report(tmp_path / "no.json")
