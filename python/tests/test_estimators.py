"""The estimators among scikit-learn's: its own checks, pipelines, searches, frames, pickles."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

from gradflow import GradflowWarning, NTKClassifier, NTKRegressor


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
@parametrize_with_checks([NTKRegressor(), NTKClassifier()])
def test_scikit_learns_own_checks_pass(estimator, check):
    check(estimator)


def test_a_signal_is_found_and_predicted(friedman):
    X, y = friedman
    model = NTKRegressor().fit(X[:250], y[:250])

    assert model.pvalue_ < 1e-10
    assert model.outcome_ == "converged"
    assert 0.0 < model.stopping_time_interval_[0] < model.stopping_time_ < model.stopping_time_interval_[1]
    assert model.score(X[250:], y[250:]) > 0.6  # of the possible 0.86
    assert 0.0 < model.noise_variance_ < y.var()
    assert set(model.rules_) == {"expected-loo", "reml-risk", "reml-flow", "gcv", "loo", "validation"}
    assert 0.0 < model.effective_dof_ < 250.0
    assert 0.0 < model.signal_share_ < 1.0


def test_no_signal_is_an_answer():
    random = np.random.default_rng(5)
    model = NTKRegressor(rule="reml-flow").fit(random.standard_normal((80, 3)), random.standard_normal(80))

    assert model.pvalue_ > 0.01
    assert np.isfinite(model.predict(random.standard_normal((4, 3)))).all()


def test_intervals_cover_and_widen_with_the_level(friedman):
    X, y = friedman
    model = NTKRegressor().fit(X[:250], y[:250])
    mean, sd = model.predict(X[250:], return_std=True)
    low, high = model.predict_interval(X[250:])
    wide_low, wide_high = model.predict_interval(X[250:], level=0.99)

    np.testing.assert_allclose(mean, model.predict(X[250:]), rtol=0, atol=1e-10)
    assert (sd > 0.0).all() and (low < mean).all() and (mean < high).all()
    assert (wide_low < low).all() and (wide_high > high).all()
    assert ((low < y[250:]) & (y[250:] < high)).mean() > 0.8  # 50 rows at 0.95


@pytest.mark.parametrize("interval", ["jackknife+", "leave-one-out"])
def test_distribution_free_intervals_are_to_be_had(friedman, interval):
    X, y = friedman
    low, high = NTKRegressor(interval=interval).fit(X[:100], y[:100]).predict_interval(X[100:])

    assert ((low < y[100:]) & (y[100:] < high)).mean() > 0.85


def test_intervals_and_deviations_are_calibrated_by_leave_one_out_errors(friedman):
    X, y = friedman
    model = NTKRegressor().fit(X[:100], y[:100])
    mean, sd = model.predict(X[100:], return_std=True)
    low, high = model.predict_interval(X[100:])
    model.interval = "model"
    known_sd = model.predict(X[100:], return_std=True)[1]

    calibration = model.error_calibration_
    assert calibration["rows"] == 100 and len(calibration["members"]) >= 1
    np.testing.assert_allclose(sd, calibration["factor"] * known_sd, rtol=1e-12)
    np.testing.assert_allclose(high - mean, mean - low, rtol=1e-9)
    assert ((low < y[100:]) & (y[100:] < high)).mean() > 0.85


def test_intervals_of_a_chosen_kernel_allow_for_the_choice(friedman):
    X, y = friedman
    model = NTKRegressor(
        select=True, candidates=["ntk:erf:1"], response_transform="none", choice_folds=3, average=0
    )
    model.fit(X[:80], y[:80])
    sd = model.predict(X[80:], return_std=True)[1]
    model.interval = "model"
    known_sd = model.predict(X[80:], return_std=True)[1]

    folds = model.choice_["folds"]
    assert folds["folds"] == 3 and folds["rows"] == 80 and len(folds["without"]) == 3
    np.testing.assert_allclose(sd, max(1.0, folds["root_mean_square"]) * known_sd, rtol=1e-12)
    low, high = model.predict_interval(X[80:], interval="cross-validated")
    known_low, known_high = model.predict_interval(X[80:])
    np.testing.assert_allclose(np.ptp((high - low) / (known_high - known_low)), 0.0, atol=1e-9)


def test_averages_fits_of_which_the_report_names_the_kernels(friedman):
    X, y = friedman
    options = dict(select=True, candidates=["ntk:erf:1"], response_transform="none", choice_folds=0)
    mean = NTKRegressor(average=2, **options).fit(X[:80], y[:80])
    one = NTKRegressor(average=0, **options).fit(X[:80], y[:80])

    assert [member["kernel"].split(",")[0] for member in mean.choice_["average"]] == ["ntk:erf:1"] * 2
    assert one.choice_["average"] is None
    assert mean.stopping_time_ == one.stopping_time_
    difference = mean.predict(X[80:]) - one.predict(X[80:])
    assert 0.0 < np.abs(difference).max() < np.std(y)


def test_works_in_pipelines_searches_and_cross_validation(friedman):
    X, y = friedman
    pipeline = make_pipeline(PolynomialFeatures(1, include_bias=False), NTKRegressor())
    search = GridSearchCV(pipeline, {"ntkregressor__kernel": ["linear", "ntk:relu:2"]}, cv=3).fit(X, y)

    assert search.best_params_["ntkregressor__kernel"] == "ntk:relu:2"
    assert cross_val_score(NTKRegressor(), X, y, cv=3).mean() > 0.6


def frame_of(rows):
    random = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "size": random.uniform(1.0, 9.0, rows),
            "rooms": random.integers(1, 6, rows),
            "city": random.choice(["Oslo", "Rome", "Bern"], rows),
            "new": random.uniform(size=rows) < 0.3,
        }
    )
    price = frame["size"] * 2 + frame["city"].map({"Oslo": 3.0, "Rome": 0.0, "Bern": -3.0})
    return frame, price.rename("price") + 0.3 * random.standard_normal(rows)


def test_frames_bring_names_and_categories():
    X, y = frame_of(120)
    model = NTKRegressor().fit(X, y)

    assert list(model.feature_names_in_) == ["size", "rooms", "city", "new"]
    assert "city=Oslo" in model.encoding_["features"]
    assert model.encoding_["response"] == "price"
    np.testing.assert_array_equal(model.predict(X), model.predict(X.copy()))
    assert model.score(X, y) > 0.95
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X.drop(columns="city"))


def test_covariates_are_fixed_effects_by_name_and_by_position():
    X, y = frame_of(120)
    named = NTKRegressor(covariates=["size"]).fit(X, y)
    numbers = X.assign(city=X["city"].map({"Bern": 0.0, "Oslo": 1.0, "Rome": 2.0})).to_numpy(dtype=float)
    placed = NTKRegressor(covariates=[0]).fit(numbers, y)

    assert set(named.fixed_effects_) == {"(intercept)", "size"}
    assert abs(named.fixed_effects_["size"] - 2.0) < 0.3
    assert set(placed.fixed_effects_) == {"(intercept)", "x1"}


def test_missing_values_are_dropped_with_a_warning_or_filled_in(friedman):
    X, y = friedman
    X = X.copy()
    X[3, 2] = np.nan
    with pytest.warns(GradflowWarning, match="1 of 300 rows have missing values"):
        dropped = NTKRegressor().fit(X, y)
    with pytest.warns(GradflowWarning, match="replaced by the training mean"):
        filled = NTKRegressor(missing="mean").fit(X, y).predict(X[:5])
    with pytest.warns(GradflowWarning, match="no prediction"):
        predicted = dropped.predict(X[:5])

    assert 3 not in dropped.rows_used_ and len(dropped.rows_used_) == 299
    assert np.isnan(predicted[3]) and np.isfinite(predicted[[0, 1, 2, 4]]).all()
    assert np.isfinite(filled).all()


def test_constant_columns_are_left_out_with_a_warning(friedman):
    X, y = friedman
    X = np.column_stack([X, np.full(len(X), 7.0)])
    with pytest.warns(GradflowWarning, match="Constant columns were left out: x11"):
        NTKRegressor().fit(X, y)


def test_noise_models_find_planted_outliers_and_the_column_that_the_noise_grows_with(friedman):
    X, y = friedman
    rng = np.random.default_rng(4)
    spoiled = y.copy()
    spoiled[[3, 11, 20]] += [15.0, -12.0, 18.0]
    robust = NTKRegressor(noise="student").fit(X, spoiled)
    assert robust.noise_["applied"] and np.isfinite(robust.noise_["dof"])
    assert set(np.argsort(robust.noise_["weights"])[:3]) == {3, 11, 20}  # the planted ones weigh least
    assert NTKRegressor().fit(X, y).noise_ is None

    noisy = y + np.exp(2.0 * X[:, 3]) * rng.standard_normal(len(y))
    model = NTKRegressor(noise_columns=[3]).fit(X, noisy)
    slope = model.noise_["coefficients"][0]
    assert slope["estimate"] > 3 * slope["standard_error"]
    with pytest.raises(ValueError, match="must be normal, student"):
        NTKRegressor(noise="cauchy").fit(X, y)


def test_equal_row_weights_change_nothing_and_a_noisy_row_counts_less(friedman):
    X, y = friedman
    plain = NTKRegressor().fit(X, y)
    equal = NTKRegressor().fit(X, y, row_weights=np.full(len(y), 3.0))
    spoiled = y.copy()
    spoiled[::20] += 30.0
    weights = np.ones(len(y))
    weights[::20] = 1e-4
    weighted = NTKRegressor().fit(X, spoiled, row_weights=weights)

    np.testing.assert_allclose(equal.predict(X), plain.predict(X), rtol=1e-8)
    rows = np.arange(len(y)) % 20 != 0
    error = np.abs(weighted.predict(X) - plain.predict(X))[rows].mean()
    assert error < np.abs(NTKRegressor().fit(X, spoiled).predict(X) - plain.predict(X))[rows].mean()


def test_a_pickle_predicts_the_same_bits_and_keeps_its_attributes(friedman):
    X, y = friedman
    model = NTKRegressor(learning_rate=0.1).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))

    np.testing.assert_array_equal(copy.predict(X, return_std=True), model.predict(X, return_std=True))
    assert repr(copy.rules_) == repr(model.rules_) and copy.steps_ == model.steps_
    assert clone(model).get_params() == model.get_params()


IRIS_COPIES = "ignore:1 rows equal to an earlier one:gradflow.GradflowWarning"


@pytest.mark.filterwarnings(IRIS_COPIES)
def test_classes_of_texts_and_numbers_are_predicted_alike():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    numbers = NTKClassifier().fit(X, y + 8)
    texts = NTKClassifier().fit(X, names)

    np.testing.assert_array_equal(texts.classes_, ["setosa", "versicolor", "virginica"])
    np.testing.assert_array_equal(numbers.classes_, [8, 9, 10])
    np.testing.assert_array_equal(numbers.predict_proba(X), texts.predict_proba(X))
    assert texts.score(X, names) > 0.95
    assert texts.pvalue_ < 1e-3 and texts.leave_one_out_["accuracy"] > 0.9
    np.testing.assert_allclose(texts.predict_proba(X).sum(axis=1), 1.0, atol=1e-12)
    copy = pickle.loads(pickle.dumps(texts))
    np.testing.assert_array_equal(copy.predict_proba(X), texts.predict_proba(X))


@pytest.mark.filterwarnings(IRIS_COPIES)
def test_number_labels_written_as_texts_keep_their_order():
    X, y = load_iris(return_X_y=True)
    labels = np.array(["10", "9", "8"])[y]
    model = NTKClassifier().fit(X, labels)

    np.testing.assert_array_equal(model.classes_, ["10", "8", "9"])
    assert model.score(X, labels) > 0.95


@pytest.mark.filterwarnings(IRIS_COPIES)
def test_a_class_of_a_row_with_a_missing_value_is_not_made_up():
    X, y = load_iris(return_X_y=True)
    model = NTKClassifier().fit(X, y)
    X = X[:3].copy()
    X[1, 0] = np.nan
    with pytest.warns(GradflowWarning):
        assert np.isnan(model.predict_proba(X)[1]).all()
    with pytest.warns(
        GradflowWarning, match="1 rows with a missing value were given the most frequent class"
    ):
        assert model.predict(X)[0] == y[0]


@pytest.mark.parametrize(
    "options, error, sentence",
    [
        ({"kernel": "ntk:sofa:2"}, ValueError, "sofa"),
        ({"learning_rate": -1.0}, ValueError, r"learning_rate -1\.0: must be"),
        ({"path": "sideways"}, ValueError, "sideways"),
        ({"level": 2}, ValueError, "level 2: must be"),
        ({"missing": "guess"}, ValueError, "missing guess: must be drop, error or mean"),
        ({"kernel": "rbf", "network": "relu:8"}, ValueError, "network and kernel: give one"),
        ({"sw2": [1]}, TypeError, "sw2"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_a_sentence(friedman, options, error, sentence):
    X, y = friedman
    with pytest.raises(error, match=sentence):
        NTKRegressor(**options).fit(X, y)
