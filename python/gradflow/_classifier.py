"""NTKClassifier."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from gradflow import _core
from gradflow._base import EstimatorBase, numbers_of
from gradflow._progress import progress
from gradflow._warnings import python_names


def labels_of(names):
    """Class names of a file as whole numbers, numbers or texts."""
    for kind in (int, float):
        try:
            return np.array([kind(name) for name in names])
        except ValueError:
            continue
    return np.array(names)


class NTKClassifier(EstimatorBase, ClassifierMixin, BaseEstimator):
    """Class probabilities from a wide network, with a test of whether there is anything to learn.

    Parameters have the names and defaults of `gradflow fit --classes`.

    Parameters
    ----------
    kernel, network, weights, parameterization, no_bias, sw2, sb2, seed, level :
        as NTKRegressor's.
    method : {"one-hot", "laplace"}, default None ("one-hot")
    kernel_grid : bool, default False
        Choose ntk:relu of depth 1, 2, 3 and sb2 0, 0.1, 1 by the method's criterion.
    columns, exclude, categorical, copies, missing, standardize, threads, verbose :
        as NTKRegressor's.

    Attributes
    ----------
    classes_ : the labels, ascending.
    pvalue_, log10_pvalue_, test_ : of "the features say nothing of the class".
    class_pvalues_ : one for each class.
    stopping_time_ : of the fit (path ridge); `flow_time_` of gradient flow on the indicators.
    method_, fit_, outcome_, reason_ : of the fit.
    leave_one_out_ : accuracy, log loss, Brier score and calibration error of left-out rows.
    leave_one_out_proba_ : their probabilities, in the rows of `rows_used_`.
    class_frequencies_ : the scores of always predicting the frequencies.
    reliability_, candidates_ : the calibration table; the kernels of `kernel_grid`.
    result_ : dict, the whole JSON document of `gradflow fit --classes --json`.
    """

    _model_class = _core.ClassModel

    def __init__(self, kernel=None, *, network=None, weights=None, parameterization=None, no_bias=False,
                 sw2=None, sb2=None, seed=1, level=0.95, method=None, kernel_grid=False, columns=None,
                 exclude=None, categorical=None, copies="once", missing="drop", standardize="both",
                 threads=None, verbose=False):
        self.kernel = kernel
        self.network = network
        self.weights = weights
        self.parameterization = parameterization
        self.no_bias = no_bias
        self.sw2 = sw2
        self.sb2 = sb2
        self.seed = seed
        self.level = level
        self.method = method
        self.kernel_grid = kernel_grid
        self.columns = columns
        self.exclude = exclude
        self.categorical = categorical
        self.copies = copies
        self.missing = missing
        self.standardize = standardize
        self.threads = threads
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike) -> NTKClassifier:
        """Tests and fits; y holds the labels, texts or numbers."""
        name = str(getattr(y, "name", None) or "class")
        X, y = self._training_input(X, y, y_numeric=False)
        check_classification_targets(y)
        y = np.asarray(y)
        self.classes_ = np.unique(y)
        numeric = y.dtype.kind in "iuf"
        response = np.asarray(y, dtype=np.float64) if numeric else [str(label) for label in y]
        self._model, facts = self._fit_columns(X, response, name, None, _core.fit_classes)
        self._set_classes(y, facts)
        document = self._set_common(facts)
        self.test_ = numbers_of(document["test"])
        self.pvalue_, self.log10_pvalue_ = self.test_["p_value"], self.test_["log10_p_value"]
        class_pvalues = np.array(self.test_["class_p_value"])
        self.class_pvalues_ = class_pvalues[self._core_order] if len(class_pvalues) else class_pvalues
        self.fit_ = numbers_of(document["fit"])
        self.method_ = document["fit"]["method"]
        self.stopping_time_, self.stopping_time_interval_ = facts["time"], facts["interval"]
        self.flow_time_ = numbers_of(document["chosen"]["flow_time"])
        self.leave_one_out_ = numbers_of(document["leave_one_out"])
        self.leave_one_out_proba_ = facts["leave_one_out"][:, self._core_order]
        self.class_frequencies_ = numbers_of(document["class_frequencies"])
        self.reliability_ = numbers_of(document["reliability"])
        self.candidates_ = numbers_of(document["candidates"])
        self._warn(self.warnings_)
        return self

    def _set_classes(self, y, facts):
        """_core_order: position among the library's classes of each of classes_."""
        rows = [int(name) - 1 for name in facts["ids"]]
        label_of = {label: y[row] for row, label in zip(rows, facts["labels"])}
        found = [label_of[k] for k in range(len(facts["classes"]))]
        if len(found) != len(self.classes_):
            raise ValueError(f"{len(self.classes_)} labels, but {len(found)} classes with different names")
        self._core_order = [found.index(label) for label in self.classes_]

    def _predict(self, X):
        columns = self._new_columns(X)
        with python_names(), progress(self.verbose) as bar:
            answer = self._model.predict(columns, bar)
        self._warn(answer["warnings"], 5)
        return np.ascontiguousarray(answer["probabilities"][:, self._core_order])

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Probabilities, a column for each of classes_; NaN for a row with a missing value under "drop"."""
        return self._predict(X)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable labels; the most frequent one, warned of, for a row without any."""
        probabilities = self._predict(X)
        absent = np.isnan(probabilities[:, 0])
        if absent.any():
            self._warn([f"{absent.sum()} rows with a missing value were given the most frequent class: fit "
                        "with missing='mean', or take predict_proba, where they are NaN."])
            probabilities[absent] = self._model.describe()["frequencies"][self._core_order]
        return self.classes_[probabilities.argmax(axis=1)]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NTKClassifier:
        """The estimator of a model file, written here or by `gradflow fit --classes`."""
        with python_names():
            return cls()._of_model(_core.ClassModel.load(str(path)))

    def _of_model(self, model):
        facts = self._take_model(model)
        names = labels_of(facts["classes"])
        self.classes_ = np.unique(names)
        self._core_order = [list(names).index(label) for label in self.classes_]
        self.method_, self.seed = facts["method"], facts["seed"]
        return self
