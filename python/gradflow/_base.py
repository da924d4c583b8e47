"""What the two estimators share: checking input, running the library, keeping the model."""

from __future__ import annotations

import json
import os

import numpy as np
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d, validate_data

from gradflow import _core
from gradflow._data import as_numbers, column_names, feature_columns, is_frame, training_columns
from gradflow._options import make_options
from gradflow._progress import progress
from gradflow._warnings import python_names, warn

NOT_OPTIONS = ("interval", "threads", "verbose")


def number(value):
    """A number of the JSON document, where what is not finite is null."""
    return float("nan") if value is None else value


def numbers_of(document):
    """A part of the JSON document that holds numbers only where it holds null."""
    if isinstance(document, dict):
        return {name: numbers_of(value) for name, value in document.items()}
    if isinstance(document, list):
        return [numbers_of(value) for value in document]
    return number(document)


def data_warnings(report):
    """What was done to the rows and columns, as sentences."""
    sentences = []
    dropped, copies = len(report["dropped_rows"]), len(report["dropped_copies"])
    if dropped:
        sentences.append(
            f"{dropped} of {report['rows_read']} rows have missing values and were left out; "
            "missing='mean' fills them in."
        )
    if copies:
        sentences.append(
            f"{copies} rows equal to an earlier one in features and response were taken for copies "
            "and left out; copies='all' keeps them."
        )
    if report["removed_constant"]:
        sentences.append(f"Constant columns were left out: {', '.join(report['removed_constant'])}.")
    return sentences


def all_warnings(document):
    """Of the data and of the run, each said once."""
    said = " ".join(document["warnings"])
    return [
        s for s in data_warnings(document["data"]) if not ("copies" in s and "copies" in said)
    ] + document["warnings"]


def set_threads(count):
    if count is not None:
        _core.set_threads(int(count))


class EstimatorBase:
    """Mixed into scikit-learn's BaseEstimator."""

    _column_names = None  # of the training frame; None: an array's x1, x2, ...
    _from_file = False

    def _options(self):
        return {name: value for name, value in self.get_params(deep=False).items() if name not in NOT_OPTIONS}

    def _training_input(self, X, y, y_numeric):
        """X as a frame or float64 array, y checked as scikit-learn does."""
        self._from_file = False
        if not is_frame(X):
            self._column_names = None
            return validate_data(
                self,
                X,
                y,
                dtype=np.float64,
                ensure_all_finite="allow-nan",
                ensure_min_samples=2,
                y_numeric=y_numeric,
            )
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        self._column_names = column_names(X)
        validate_data(self, X, skip_check_array=True)
        y = check_array(y, ensure_2d=False, dtype=np.float64 if y_numeric else None, input_name="y")
        if len(y) != len(X):
            raise ValueError(f"X has {len(X)} rows and y has {len(y)} values; they must be equal")
        return X, column_or_1d(y, warn=True)

    def _fit_columns(self, X, y, y_name, weights, call):
        """Runs call(options, columns, progress) of the library; what it returns."""
        columns, target, weights_name = training_columns(X, y, y_name, weights)
        given = {**self._options(), "target": target, "row_weights": weights_name}
        set_threads(self.threads)
        with python_names(), progress(self.verbose) as bar:
            return call(make_options(given), columns, bar)

    def _set_common(self, facts):
        document = json.loads(facts["json"])
        self.result_ = document
        self.data_report_ = document["data"]
        self.encoding_ = document["encoding"]
        self.operator_ = document["operator"]
        self.kernel_ = document["operator"]["text"]
        self.seconds_ = document["seconds"]
        self.outcome_ = document["outcome"]
        self.reason_ = document["reason"]
        self.rows_used_ = np.array([int(name) - 1 for name in facts["ids"]], dtype=np.intp)
        self.warnings_ = all_warnings(document)
        return document

    def _new_columns(self, X):
        check_is_fitted(self)
        if self._model is None:
            raise ValueError(f"nothing can be predicted: the fit gave no usable time ({self.reason_})")
        if self._column_names is not None and is_frame(X):
            if not self._from_file:
                validate_data(self, X, reset=False, skip_check_array=True)
            return feature_columns(X)
        X = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan")
        return feature_columns(as_numbers(X, "X"), self._column_names)

    @staticmethod
    def _warn(sentences, stacklevel=4):
        warn(sentences, stacklevel)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model file that `gradflow predict` reads too."""
        check_is_fitted(self)
        if self._model is None:
            raise ValueError(f"there is no model to save: the fit gave no usable time ({self.reason_})")
        self._model.save(str(path))

    def _take_model(self, model):
        """Becomes the estimator of a model file."""
        facts = model.describe()
        names = facts["input_columns"]
        by_position = names == [f"x{i + 1}" for i in range(len(names))]
        self._model, self._from_file = model, True
        self._column_names = None if by_position else facts["columns"]
        self.n_features_in_ = len(names) if by_position else len(facts["columns"])
        if not by_position:
            self.feature_names_in_ = np.array(facts["columns"], dtype=object)
        self.kernel_ = facts["operator"]
        self.log10_pvalue_ = facts["log10_pvalue"]
        self.pvalue_ = 10.0 ** facts["log10_pvalue"]
        self.stopping_time_ = facts["time"]
        self.warnings_ = facts["warnings"]
        self.outcome_, self.reason_ = "converged", "read from a model file"
        return facts

    def __getstate__(self):
        state = dict(super().__getstate__())
        model = state.get("_model")
        if model is not None:
            state["_model"] = model.to_bytes()
        return state

    def __setstate__(self, state):
        state = dict(state)
        if isinstance(state.get("_model"), bytes):
            state["_model"] = self._model_class.from_bytes(state["_model"])
        super().__setstate__(state)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags
