"""The page of a fit or a run, as `gradflow report` makes it."""

from __future__ import annotations

import html
import json
import os
import pathlib

from sklearn.utils.validation import check_is_fitted

from gradflow import _core
from gradflow._base import EstimatorBase
from gradflow._warnings import python_names


class Report:
    """One self-contained HTML page, and its figures.

    A notebook shows it where it is the value of a cell.

    Attributes
    ----------
    html : str, the page: no script, no request to anywhere.
    figures : dict from name to SVG, those that could be drawn.
    missing : dict from name to the reason, of the others.
    """

    def __init__(self, page):
        self.html: str = page["html"]
        self.figures: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        for figure in page["figures"]:
            if figure["missing"]:
                self.missing[figure["name"]] = figure["missing"]
            else:
                self.figures[figure["name"]] = figure["svg"]

    def __repr__(self):
        return f"<gradflow.Report: {len(self.figures)} figures, {len(self.html) // 1000} kB; save(path) writes it>"

    def _repr_html_(self):
        # In a frame of its own, so that the page's style stays with it.
        return (f'<iframe title="gradflow report" srcdoc="{html.escape(self.html)}" '
                'style="width: 100%; height: 48rem; border: 0"></iframe>')

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the page."""
        _write(pathlib.Path(path), self.html)

    def save_figures(self, folder: str | os.PathLike[str]) -> None:
        """Writes NAME.svg for every figure, making the folder if need be."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, svg in self.figures.items():
            _write(folder / f"{name}.svg", svg)


def _write(path, text):
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def report(fit: EstimatorBase | str | os.PathLike[str]) -> Report:
    """A page to look at: the verdict, figures, what was done to the data, all settings.

    Needs the program gnuplot on the PATH (Debian: gnuplot-nox), which draws.

    Parameters
    ----------
    fit : a fitted NTKRegressor or NTKClassifier, or the path of a model file or of a run's JSON document.

    Raises
    ------
    ValueError where gnuplot is not installed, or the file is neither.
    """
    with python_names():
        if not isinstance(fit, EstimatorBase):
            return Report(_core.report_of_file(os.fspath(fit)))
        check_is_fitted(fit)
        if getattr(fit, "result_", None) is not None:
            return Report(_core.report_of_document(json.dumps(fit.result_), "the fit"))
        if isinstance(fit._model, _core.Model):
            return Report(_core.report_of_model(fit._model, "the model"))
        return Report(_core.report_of_class_model(fit._model, "the model"))
