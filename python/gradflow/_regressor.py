"""NTKRegressor."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_array

from gradflow import _core
from gradflow._base import EstimatorBase, number, numbers_of
from gradflow._progress import progress
from gradflow._warnings import python_names


def set_analysis(self, document, facts):
    """The attributes of an analysis: the test, the rules, the variances, the spectrum."""
    self.test_ = numbers_of(document["test"])
    self.pvalue_ = self.test_["p_value"]
    self.log10_pvalue_ = self.test_["log10_p_value"]
    self.rules_ = {rule.pop("name"): rule for rule in facts["rules"]}
    self.rule_ = document["chosen"]["rule"]
    chosen = self.rules_[self.rule_]
    self.stopping_time_ = chosen["time"]
    self.stopping_time_interval_ = chosen["interval"]
    self.steps_ = chosen["steps"]
    self.path_ = numbers_of(document["chosen"]["path"])
    self.noise_variance_ = facts["noise_variance"]
    self.effective_dof_ = facts["effective_dof"]
    self.signal_share_ = facts["signal_share"]
    effects = document["fixed_effects"]
    self.fixed_effects_ = {effect["name"]: number(effect["coefficient"]) for effect in effects}
    self.fits_ = numbers_of(document["fits"])
    self.spectrum_ = numbers_of(document["spectrum"])
    self.eigenvalues_ = facts["eigenvalues"]
    self.coordinates_ = facts["coordinates"]
    self.spectral_losses_ = facts["losses"]
    self.loo_residuals_ = facts["loo_residuals"]
    self.variance_components_ = numbers_of(document["variance_components"])
    self.residual_check_ = numbers_of(document["residual_check"])
    self.error_calibration_ = numbers_of(document["error_calibration"])
    self.plan_ = document["plan"]
    self.krylov_ = document["krylov"]


class NTKRegressor(EstimatorBase, RegressorMixin, BaseEstimator):
    """Regression by a wide network trained by gradient flow and stopped at its estimated best time.

    The network is linear in its change, f(t) = f0 + (1 - exp(-tH)) (y - f0) on the training rows, H its
    training operator (kernel/n). That fit is the prediction of a random-effects model, so the data themselves
    say whether training is warranted (`pvalue_`), how long (`stopping_time_`, `steps_`) and how sure a
    prediction is.

    Parameters have the names and defaults of the command line's options; `gradflow fit --help` lists them.
    Columns are named, or given by 0-based position.

    Parameters
    ----------
    kernel : str, default None ("ntk:relu:2")
        Infinite-width network "ntk:ACTIVATION:DEPTH" or "nngp:...", "linear", "rbf", "matern32", "matern52",
        or a weighted sum, as "ntk:relu:2 + 0.3*linear".
    network : str, default None
        Instead, a finite network "ACTIVATION:WIDTHxLAYERS", as "relu:128x2".
    weights : str, default None
        Its weights: NPZ or safetensors file with W0, b0, W1, b1, ...; drawn with `seed` otherwise.
    parameterization : {"standard", "ntk"}, default None
        Of a finite network.
    no_bias : bool, default False
        A finite network without biases.
    sw2, sb2 : float, default None (2 and 0.1)
        Weight and bias variance of kernels and ntk networks.
    seed : int, default 1
        Of the weights drawn and the validation rows.
    no_intercept : bool, default False
        No intercept among the fixed effects.
    paper : bool, default False
        As in the paper: no fixed effects, rule "reml-flow".
    pvalue : {"exact", "satterthwaite"}, default "exact"
    level : float, default 0.95
        Of intervals.
    rule : str, default None ("expected-loo"; "reml-risk" on the other paths)
        "expected-loo", "reml-risk", "reml-flow", "gcv", "loo" or "validation". All are computed; this one stops.
    path : {"flow", "ridge", "decay", "descent", "implicit"}, default "flow"
    decay_rate, implicit_steps : default None ("auto")
        Of paths "decay" and "implicit".
    learning_rate : float, default None
        Turns the time into full-batch steps.
    loss : {"half-mse", "mse"}, default "half-mse"
        Whose learning rate: 1/(2n) sum (f-y)^2, or without 1/2, as PyTorch's MSELoss.
    validation_fraction : float, default 0.2
    select : bool, default False
        Choose the kernel by its likelihood: shape, biases, and a relevance for each feature.
    candidates : list of str, default None
        Kernels that `select` chooses from.
    relevances : str, default "each"
        Of `select`: "each" (one a feature), "columns" (indicators of a category share), "one", or groups of
        columns that share, as "a,b;c,d".
    response_transform : str or (str, float), default None ("auto" with `select`, else "none")
        The program's --transform (an estimator with a `transform` is a transformer to scikit-learn): "none",
        "log", "box-cox", "yeo-johnson", ("box-cox", 0.5), or "auto".
    selection_rows : int, default 1500
        Most rows that `select` and `response_transform` look at.
    refine_rows : int, default 0
        Most rows on which the parameters of the kernel that `select` chose are then refined, by products with
        the operator and random probes. 0: not at all.
    choice_folds : int, default None (5 with `select` of at most 400 rows and `average` 0, else 0)
        The choice is made again without each of so many folds of the rows, for intervals that know what
        choosing costs: the time of as many choices. 0: never.
    average : int, default None (5 with `select` of at most 2,000 rows, else 0)
        The parameters of the kernel that `select` chose are chosen again without each of so many folds of the
        rows, and predictions are the mean of the fits of all of them. 0: of the choice alone.
    noise : {"normal", "student", "student=NU", "fitted"}, default "normal"
        Student's t noise with NU degrees of freedom (chosen without a number), or a variance that depends on
        the fitted mean. The test stays that of normal noise.
    noise_columns : list of columns, default None
        Features or covariates that the noise variance depends on, log-linearly.
    engine, storage, precision, max_memory, krylov_steps, probes, rules, checkpoint
        How to compute; as the command line's.
    covariates, columns, exclude, categorical : list of columns, default None
        Fixed effects; features (default: all others); columns to leave out; numbers that are categories.
    copies : {"once", "all"}, default "once"
        Rows equal in features, covariates and response: kept once, or all.
    missing : {"drop", "error", "mean"}, default "drop"
        Rows with missing features. Under "drop" a new row with one is predicted as NaN.
    standardize : {"both", "features", "none"}, default "both"
    interval : {"calibrated", "model", "jackknife+", "leave-one-out", "cross-validated"}, default None
        Of `predict_interval`; None: "cross-validated" where the choice was made again without folds, else
        "calibrated" where leave-one-out errors are known (`error_calibration_`), else "model".
    threads : int, default None
        Of the whole process; 0: OMP_NUM_THREADS, or all cores.
    verbose : bool, default False
        Progress by tqdm.

    Attributes
    ----------
    pvalue_, log10_pvalue_, test_ : the score test of "no training is warranted".
    stopping_time_, stopping_time_interval_, steps_, rule_ : of the chosen rule.
    rules_ : dict, every rule with time, interval, steps, effective_dof, estimated_rmse, loo_rmse, outcome,
        reason.
    outcome_, reason_ : of the chosen rule; "at_zero" is an answer (do not train).
    noise_variance_, effective_dof_, signal_share_, fixed_effects_, fits_, path_ : at the chosen time.
    eigenvalues_, coordinates_, spectral_losses_, spectrum_ : of the operator, fixed effects projected out.
    variance_components_ : dict, REML estimate and profile interval of time (tau), noise_variance,
        signal_share and effective_dof of ridge; dense engine only.
    residual_check_ : dict, whether the residuals are normal and independent along the rows; dense engine.
    error_calibration_ : dict, leave-one-out errors over their standard deviations: root mean square (factor),
        the normal scales they are a mixture of (members, relative to it), the probability that they are normal
        (normal_probability) and the log-likelihood that a mixture gains (gain); factor is nan, with a reason,
        where they are not known. Of the fit chosen with all rows: where fits are averaged, predictions also
        allow for the errors of rows without a part in it.
    loo_residuals_ : leave-one-out residuals, in the rows of `rows_used_`.
    noise_ : dict, the noise model where one was asked for: its coefficients or degrees of freedom, and the
        estimated weights of the rows used.
    data_report_, encoding_, operator_, kernel_, choice_, plan_, krylov_, warnings_, seconds_ : what was done.
    result_ : dict, the whole JSON document of `gradflow fit --json`.
    n_features_in_, feature_names_in_ : as scikit-learn's.
    """

    _model_class = _core.Model

    def __init__(self, kernel=None, *, network=None, weights=None, parameterization=None, no_bias=False,
                 sw2=None, sb2=None, seed=1, no_intercept=False, paper=False, pvalue="exact", level=0.95,
                 rule=None, path="flow", decay_rate=None, implicit_steps=None, learning_rate=None,
                 loss="half-mse", validation_fraction=0.2, select=False, candidates=None, relevances="each",
                 response_transform=None, selection_rows=1500, refine_rows=0, choice_folds=None, average=None, noise="normal",
                 noise_columns=None, engine="auto", storage="auto", precision="auto",
                 max_memory=None, krylov_steps=None, probes=None, rules="all", checkpoint=None, covariates=None, columns=None,
                 exclude=None, categorical=None, copies="once", missing="drop", standardize="both",
                 interval=None, threads=None, verbose=False):
        self.kernel = kernel
        self.network = network
        self.weights = weights
        self.parameterization = parameterization
        self.no_bias = no_bias
        self.sw2 = sw2
        self.sb2 = sb2
        self.seed = seed
        self.no_intercept = no_intercept
        self.paper = paper
        self.pvalue = pvalue
        self.level = level
        self.rule = rule
        self.path = path
        self.decay_rate = decay_rate
        self.implicit_steps = implicit_steps
        self.learning_rate = learning_rate
        self.loss = loss
        self.validation_fraction = validation_fraction
        self.select = select
        self.candidates = candidates
        self.relevances = relevances
        self.response_transform = response_transform
        self.selection_rows = selection_rows
        self.refine_rows = refine_rows
        self.choice_folds = choice_folds
        self.average = average
        self.noise = noise
        self.noise_columns = noise_columns
        self.engine = engine
        self.storage = storage
        self.precision = precision
        self.max_memory = max_memory
        self.krylov_steps = krylov_steps
        self.probes = probes
        self.rules = rules
        self.checkpoint = checkpoint
        self.covariates = covariates
        self.columns = columns
        self.exclude = exclude
        self.categorical = categorical
        self.copies = copies
        self.missing = missing
        self.standardize = standardize
        self.interval = interval
        self.threads = threads
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike, row_weights: ArrayLike | None = None) -> NTKRegressor:
        """Tests, stops and fits.

        Parameters
        ----------
        X : array or data frame of shape (n, d). Text columns of a frame are categories.
        y : array of shape (n,)
        row_weights : array of shape (n,), > 0, default None
            The noise variance of a row is noise_variance_ / weight. These are precisions, not scikit-learn's
            sample weights: a weight of 2 is a mean of two responses, not two equal rows.

        Returns
        -------
        self. Where no rule gives a usable time the attributes say so, a warning is given, and predict raises.
        """
        name = str(getattr(y, "name", None) or "y")
        table, response = self._training_input(X, y, y_numeric=True)
        response = np.asarray(response, dtype=np.float64)
        weights = None if row_weights is None else self._checked_weights(row_weights, len(response))
        self._model, facts = self._fit_columns(table, response, name, weights, _core.fit)
        document = self._set_common(facts)
        set_analysis(self, document, facts)
        self.choice_ = document["choice"]
        self.noise_ = document["noise"]
        if self._model is None:
            without_noise = self.noise_ is not None and self.noise_["outcome"] != "converged"
            missing = "noise model" if without_noise else "stopping time"
            reason = self.noise_["reason"] if without_noise else self.reason_
            sentence = f"No usable {missing}: {reason}; predict will raise."
            self.warnings_ = [*self.warnings_, sentence]
        self._warn(self.warnings_)
        return self

    @staticmethod
    def _checked_weights(row_weights, rows):
        weights = check_array(row_weights, ensure_2d=False, dtype=np.float64, input_name="row_weights")
        if weights.shape != (rows,):
            raise ValueError(f"row_weights has shape {weights.shape}: must be ({rows},)")
        return weights

    def _predict(self, X, interval, level=None):
        columns = self._new_columns(X)
        with python_names(), progress(self.verbose) as bar:
            answer = self._model.predict(columns, interval, level, bar)
        self._warn(answer["warnings"], 5)
        return answer

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Predictions at the stopping time.

        return_std adds the standard deviation of the mean function there, without the noise of a new response
        (`predict_interval` has both). It is multiplied by the root mean square of the left-out errors over
        their standard deviations: of folds where the choice was made again without them, at least 1
        (choice_["folds"]), else of leave-one-out (error_calibration_["factor"]), unless `interval` is
        "model". It factors the operator again, n^3/3 flops.
        """
        of_model = self.interval not in (None, "calibrated", "cross-validated")
        kind = "model" if of_model else self.interval
        answer = self._predict(X, kind if return_std else "none")
        return (answer["mean"], answer["sd"]) if return_std else answer["mean"]

    def predict_interval(self, X: ArrayLike, level: float | None = None, interval: str | None = None,
                         ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(lower, upper) of new responses at the rows of X; `interval` as the parameter of that name."""
        answer = self._predict(X, interval or self.interval, level)
        return answer["lower"], answer["upper"]

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NTKRegressor:
        """The estimator of a model file, written here or by `gradflow fit`."""
        with python_names():
            return cls()._of_model(_core.Model.load(str(path)))

    def _of_model(self, model):
        facts = self._take_model(model)
        self.level, self.seed = facts["level"], facts["seed"]
        self.rule_, self.steps_ = facts["rule"], facts["steps"]
        self.path_ = {"kind": facts["path"], "time": facts["time"]}
        self.noise_variance_, self.effective_dof_ = facts["noise_variance"], facts["effective_dof"]
        return self
