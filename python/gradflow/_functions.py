"""The test, the stopping time and the spectrum of any operator."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from gradflow import _core
from gradflow._base import all_warnings, numbers_of
from gradflow._classifier import NTKClassifier
from gradflow._data import as_numbers, column_names, feature_columns, free_name, is_frame, training_columns
from gradflow._options import make_options
from gradflow._progress import progress
from gradflow._regressor import NTKRegressor
from gradflow._warnings import python_names, warn

TEST_OPTIONS = {
    "no_intercept",
    "paper",
    "pvalue",
    "level",
    "seed",
    "engine",
    "storage",
    "precision",
    "max_memory",
    "krylov_steps",
    "probes",
}
STOP_OPTIONS = TEST_OPTIONS | {
    "rule",
    "rules",
    "path",
    "decay_rate",
    "implicit_steps",
    "learning_rate",
    "loss",
    "validation_fraction",
}
NETWORK_OPTIONS = {
    "weights",
    "parameterization",
    "no_bias",
    "sw2",
    "sb2",
    "standardize",
    "missing",
    "copies",
    "columns",
    "exclude",
    "categorical",
}
# Tests beside the score test: with any operator, and with a kernel's description.
FURTHER_TESTS = {"likelihood_ratio", "permutations", "binary", "draws"}
KERNEL_TESTS = {"also", "group", "given"}
CHOICE_OPTIONS = {"select", "candidates", "relevances", "response_transform", "selection_rows", "refine_rows"}
MOST_DENSE_ROWS = 4000  # the library's own limit of the dense engine
Block = NDArray[np.float64]
# A matrix, a description, a scipy LinearOperator or sparse matrix, or a function on blocks.
Operator = Union[str, ArrayLike, Callable[[Block], Block], Any]
NETWORK = re.compile(r"(?!ntk:|nngp:)[a-z_]+(?:=[0-9.]+)?:\d+")


@dataclasses.dataclass(frozen=True)
class ScoreTest:
    """Is training warranted? Small p-values say yes."""

    pvalue: float
    log10_pvalue: float  # does not underflow
    statistic: float
    outcome: str
    reason: str
    log10_standard_error: float  # of random probes; 0: every eigenvalue was known
    further: dict[str, dict[str, Any]] = dataclasses.field(repr=False)  # the tests asked for beside this one
    warnings: tuple[str, ...] = dataclasses.field(repr=False)
    result: dict[str, Any] = dataclasses.field(repr=False)  # the whole JSON document


@dataclasses.dataclass(frozen=True)
class StoppingTime:
    """How long to train, by the chosen rule, with what every rule says."""

    time: float
    interval: tuple[float, float]
    rule: str
    steps: float  # full-batch steps at the learning rate; NaN without one
    outcome: str
    reason: str
    noise_variance: float
    effective_dof: float
    signal_share: float
    test: ScoreTest
    rules: dict[str, dict[str, Any]] = dataclasses.field(repr=False)
    eigenvalues: Block = dataclasses.field(repr=False)
    coordinates: Block = dataclasses.field(repr=False)  # of the response, along eigenvectors
    spectral_losses: Block = dataclasses.field(repr=False)  # at the time of reml-flow
    loo_residuals: Block = dataclasses.field(repr=False)
    warnings: tuple[str, ...] = dataclasses.field(repr=False)
    result: dict[str, Any] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Of the operator with the fixed effects projected out, M = Q'HQ."""

    eigenvalues: Block  # descending
    effective_rank: float  # (sum)^2 / sum of squares
    trace: float
    coordinates: Block | None = None  # of the response; None without one
    losses: Block | None = None  # exp(-t eigenvalue) coordinate^2 at the time of reml-flow


def _check_options(options, allowed, what):
    for name in options:
        if name not in allowed:
            raise TypeError(f"{what}() got an unexpected keyword argument '{name}'")


def _apply_of(operator):
    if callable(getattr(operator, "matmat", None)):
        return operator.matmat
    if issparse(operator):
        return lambda block: operator @ block
    return operator


def _check_symmetric(apply, n, name):
    """u'Hv = v'Hu for two random vectors: what a matrix is checked for entry by entry."""
    block = np.random.default_rng(0).standard_normal((n, 2))
    product = apply(block)
    one, other = block[:, 0] @ product[:, 1], block[:, 1] @ product[:, 0]
    scale = np.linalg.norm(block[:, 0]) * np.linalg.norm(product[:, 1])
    if abs(one - other) > 1e-4 * scale:
        raise ValueError(
            f"{name}: not symmetric: u'Hv = {one:.6g} and v'Hu = {other:.6g} for two random vectors"
        )


def _given_operator(operator, rows, options):
    """What _core takes of a matrix, a LinearOperator or a function on blocks."""
    if isinstance(operator, (np.ndarray, list)) or hasattr(operator, "__array__"):
        matrix = as_numbers(operator, "operator")
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"operator: a matrix of shape {matrix.shape}; must be square, kernel/n")
        return {"name": "operator", "matrix": matrix}
    name = type(operator).__name__
    small = rows <= MOST_DENSE_ROWS and options.get("engine", "auto") != "krylov"
    if small and callable(getattr(operator, "matrix", None)):
        return {"name": name, "matrix": as_numbers(operator.matrix(), name)}
    product = _apply_of(operator)
    if not callable(product):
        raise TypeError(
            f"operator: {name} is neither a matrix, a description such as 'ntk:relu:2', a "
            "scipy LinearOperator nor a function on blocks"
        )
    shape = getattr(operator, "shape", (rows, rows))
    if tuple(shape) != (rows, rows):
        raise ValueError(f"operator: {name} of shape {tuple(shape)}, and the response has {rows} values")

    def apply(block):
        return np.asarray(as_numbers(product(block), f"the product with {name}").reshape(block.shape))

    _check_symmetric(apply, rows, name)
    given = {"name": name, "apply": apply, "rows": rows}
    if callable(getattr(operator, "diagonal", None)):
        given["diagonal"] = np.ascontiguousarray(
            as_numbers(operator.diagonal(), f"the diagonal of {name}").ravel()
        )
    return given


def _vector(values, name, rows=None):
    array = as_numbers(values, name)
    array = array.ravel() if array.ndim == 2 and 1 in array.shape else array
    if array.ndim != 1 or (rows is not None and len(array) != rows):
        wanted = "(n,)" if rows is None else f"({rows},)"
        raise ValueError(f"{name} has shape {array.shape}: must be {wanted}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: every value must be finite")
    return array


def _observations(y, covariates, f0, row_weights):
    data = {"y": _vector(y, "y")}
    n = len(data["y"])
    if f0 is not None:
        data["f0"] = _vector(f0, "f0", n)
    if row_weights is not None:
        data["row_weights"] = _vector(row_weights, "row_weights", n)
        if (data["row_weights"] <= 0.0).any():
            raise ValueError("row_weights: every weight must be > 0")
    if covariates is not None:
        columns = as_numbers(covariates, "covariates")
        columns = columns.reshape(-1, 1) if columns.ndim == 1 else columns
        if columns.ndim != 2 or len(columns) != n or not np.isfinite(columns).all():
            raise ValueError(f"covariates has shape {columns.shape}: must be ({n}, q), every value finite")
        data["covariates"] = columns
    return data


def _described(operator, y, X, covariates, f0, row_weights, options):
    """(options, columns) for an operator given by its description, with features."""
    if X is None:
        raise ValueError(f"operator '{operator}' is a function of features: give them as X")
    if f0 is not None:
        raise ValueError(
            f"f0 is the initial output of an operator of your own; that of '{operator}' is known"
        )
    X = X if is_frame(X) else as_numbers(X, "X")
    if not is_frame(X) and X.ndim != 2:
        raise ValueError(f"X has shape {X.shape}: must be (n, d)")
    weights = None if row_weights is None else _vector(row_weights, "row_weights")
    columns, target, weights_name = training_columns(X, _vector(y, "y"), "y", weights)
    given = dict(options)
    if covariates is not None and all(isinstance(each, str) for each in covariates):
        given["covariates"] = list(covariates)
    elif covariates is not None:
        values = _observations(y, covariates, None, None)["covariates"]
        names = [
            free_name(f"z{j + 1}", column_names(X) if is_frame(X) else ()) for j in range(values.shape[1])
        ]
        columns.add_matrix(values, names)
        given["covariates"] = names
    kind = "network" if NETWORK.match(operator.strip()) else "kernel"
    return make_options({**given, kind: operator, "target": target, "row_weights": weights_name}), columns


def _test_of(document, warnings=()):
    test = numbers_of(document["test"])
    further = {name: numbers_of(found) for name, found in document.items() if name.endswith("_test")}
    return ScoreTest(
        pvalue=test["p_value"],
        log10_pvalue=test["log10_p_value"],
        statistic=test["statistic"],
        outcome=test["outcome"],
        reason=test["reason"],
        log10_standard_error=test["log10_standard_error"],
        further=further,
        warnings=tuple(warnings),
        result=document,
    )


def _warn_of(document):
    sentences = all_warnings(document)
    warn(sentences, stacklevel=4)
    return tuple(sentences)


def score_test(
    operator: Operator,
    y: ArrayLike,
    X: ArrayLike | None = None,
    *,
    covariates: ArrayLike | Sequence[str] | None = None,
    f0: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    verbose: bool = False,
    **options: Any,
) -> ScoreTest:
    """Is training with this operator warranted by these responses?

    Parameters
    ----------
    operator : H, n x n, kernel/n: a matrix; a scipy LinearOperator or sparse matrix; a function that
        multiplies blocks of columns, (n, b) -> (n, b); or a description as "ntk:relu:2 + 0.3*linear" or
        "relu:128x2", which is evaluated at the features X, standardised.
    y : array of shape (n,)
    X : array or data frame of shape (n, d), for a description only.
    covariates : array of shape (n, q), fixed effects beside the intercept; or, of a frame X, column names.
    f0 : array of shape (n,), the output before training; zeros by default.
    row_weights : array of shape (n,), > 0; the noise variance of a row is s2 / weight.
    options : no_intercept, pvalue, level, engine, ... as NTKRegressor's; and tests beside this one, as
        those of `gradflow test`, whose results are in `further`: likelihood_ratio=True, permutations=999,
        binary=True, draws=...; with a kernel's description also=[other kernels], group=[columns],
        given="linear".

    Returns
    -------
    ScoreTest
    """
    described = isinstance(operator, str)
    allowed = TEST_OPTIONS | FURTHER_TESTS | (NETWORK_OPTIONS | KERNEL_TESTS if described else set())
    _check_options(options, allowed, "score_test")
    with python_names(), progress(verbose) as bar:
        if described:
            given, columns = _described(operator, y, X, covariates, f0, row_weights, options)
            document = json.loads(_core.test(given, columns, bar))
        else:
            data = _own_data(y, X, covariates, f0, row_weights)
            own = _given_operator(operator, len(data["y"]), options)
            document = json.loads(_core.test_operator(make_options(options), own, data, bar))
    return _test_of(document, _warn_of(document))


def _own_data(y, X, covariates, f0, row_weights):
    if X is not None:
        raise ValueError("X is for an operator given by its description; fixed effects are `covariates`")
    return _observations(y, covariates, f0, row_weights)


def stopping_time(
    operator: Operator,
    y: ArrayLike,
    X: ArrayLike | None = None,
    *,
    covariates: ArrayLike | Sequence[str] | None = None,
    f0: ArrayLike | None = None,
    row_weights: ArrayLike | None = None,
    verbose: bool = False,
    **options: Any,
) -> StoppingTime:
    """How long to train with this operator: the time of every rule, with intervals.

    Parameters are score_test's; options beside those: rule, path, learning_rate, loss, level, rules, ... as
    NTKRegressor's, and for a description select, candidates, relevances and
    response_transform.

    Returns
    -------
    StoppingTime
    """
    described = isinstance(operator, str)
    allowed = STOP_OPTIONS | (NETWORK_OPTIONS | CHOICE_OPTIONS if described else set())
    _check_options(options, allowed, "stopping_time")
    with python_names(), progress(verbose) as bar:
        if described:
            without_folds = {**options, "choice_folds": 0, "average": 0}  # nothing is predicted
            given, columns = _described(operator, y, X, covariates, f0, row_weights, without_folds)
            facts = _core.fit(given, columns, bar)[1]
        else:
            data = _own_data(y, X, covariates, f0, row_weights)
            own = _given_operator(operator, len(data["y"]), options)
            facts = _core.analyse_operator(make_options(options), own, data, bar)
    document = json.loads(facts["json"])
    warnings = _warn_of(document)
    rules = {rule.pop("name"): rule for rule in facts["rules"]}
    chosen = rules[document["chosen"]["rule"]]
    return StoppingTime(
        time=chosen["time"],
        interval=chosen["interval"],
        rule=document["chosen"]["rule"],
        steps=chosen["steps"],
        outcome=chosen["outcome"],
        reason=chosen["reason"],
        noise_variance=facts["noise_variance"],
        effective_dof=facts["effective_dof"],
        signal_share=facts["signal_share"],
        test=_test_of(document),
        rules=rules,
        eigenvalues=facts["eigenvalues"],
        coordinates=facts["coordinates"],
        spectral_losses=facts["losses"],
        loo_residuals=facts["loo_residuals"],
        warnings=warnings,
        result=document,
    )


def spectrum(
    operator: Operator,
    y: ArrayLike | None = None,
    X: ArrayLike | None = None,
    *,
    covariates: ArrayLike | None = None,
    no_intercept: bool = False,
    verbose: bool = False,
    **options: Any,
) -> Spectrum:
    """Which directions training learns, and how fast: the eigenvalues of M = Q'HQ, all of them.

    With a response y also its coordinates along the eigenvectors, and what is left of them at the time of
    rule reml-flow. Parameters are score_test's. Cost: an eigendecomposition.

    Returns
    -------
    Spectrum
    """
    described = isinstance(operator, str)
    _check_options(options, STOP_OPTIONS | (NETWORK_OPTIONS if described else set()), "spectrum")
    if y is not None:
        found = stopping_time(
            operator,
            y,
            X,
            covariates=covariates,
            no_intercept=no_intercept,
            verbose=verbose,
            **{**options, "engine": "dense"},
        )
        values = found.eigenvalues
        return Spectrum(
            values,
            values.sum() ** 2 / (values @ values),
            values.sum(),
            found.coordinates,
            found.spectral_losses,
        )
    if isinstance(operator, str):
        if X is None:
            raise ValueError(f"operator '{operator}' is a function of features: give them as X")
        operator = kernel_matrix(operator, X, verbose=verbose, **options)
    rows = getattr(operator, "shape", (len(operator) if isinstance(operator, list) else 0,))[0]
    if rows == 0:
        raise ValueError(
            "the operator has no shape: give a matrix or a scipy LinearOperator, or a response y"
        )
    with python_names():
        own = _given_operator(operator, rows, {})
        fixed = (
            None
            if covariates is None
            else _observations(np.zeros(rows), covariates, None, None)["covariates"]
        )
        values = _core.eigenvalues(own, fixed, not no_intercept)
    return Spectrum(values, values.sum() ** 2 / (values @ values), values.sum())


def kernel_matrix(
    operator: str, X: ArrayLike, X_new: ArrayLike | None = None, *, verbose: bool = False, **options: Any
) -> NDArray[np.float64]:
    """H = kernel(X, X)/n of a description, features standardised; with X_new kernel(X_new, X)/n, m x n.

    Returns
    -------
    array of shape (n, n) or (m, n)
    """
    _check_options(options, NETWORK_OPTIONS | {"seed"}, "kernel_matrix")
    X = X if is_frame(X) else as_numbers(X, "X")
    rows = None
    if X_new is not None:
        rows = feature_columns(X_new if is_frame(X_new) else as_numbers(X_new, "X_new"), source="X_new")
    kind = "network" if NETWORK.match(operator.strip()) else "kernel"
    with python_names(), progress(verbose) as bar:
        return _core.kernel(make_options({**options, kind: operator}), feature_columns(X), rows, bar)


def load(path: str | os.PathLike[str]) -> NTKRegressor | NTKClassifier:
    """The estimator of a model file, written by `save` or by `gradflow fit`."""
    return (NTKClassifier if _core.is_class_model(str(path)) else NTKRegressor).load(path)
