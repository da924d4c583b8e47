"""The same numbers from Python, the program and the reference implementation, on the fixtures."""

import json
import math
import subprocess
import warnings

import numpy as np
import pytest
from conftest import CASES, ORACLE, ROOT, case_arrays
from scipy.sparse.linalg import aslinearoperator

import gradflow
from gradflow import NTKClassifier, NTKRegressor

TOLERANCE = 1e-12
NOT_COMPARED = {"argv", "options", "command", "seconds", "encoding", "threads", "plan", "warnings"}
SHARED = ROOT.parent / "shared" / "data"


def numbers_in(document, path=""):
    """(path, number) of everything in a JSON document that is a finding."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name not in NOT_COMPARED:
                yield from numbers_in(value, f"{path}.{name}")
    elif isinstance(document, list):
        for i, value in enumerate(document):
            yield from numbers_in(value, f"{path}[{i}]")
    elif isinstance(document, (int, float)) and not isinstance(document, bool):
        yield path, float(document)


def assert_same_numbers(ours, theirs):
    ours, theirs = dict(numbers_in(ours)), dict(numbers_in(theirs))
    assert ours.keys() == theirs.keys()
    different = {
        path: (ours[path], theirs[path])
        for path in ours
        if not math.isclose(ours[path], theirs[path], rel_tol=TOLERANCE, abs_tol=1e-300)
    }
    assert not different
    assert len(ours) > 15


def run_program(program, tmp_path, *arguments):
    """The JSON document of a run."""
    done = subprocess.run(
        [program, *arguments, "--json", str(tmp_path / "out.json"), "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    return json.loads((tmp_path / "out.json").read_text())


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """(name, arrays, expected values, weights file) of a fixture."""
    arrays = case_arrays(request.param)
    layers = json.loads((ORACLE / request.param / "expected.json").read_text())
    weights = {name: arrays[name] for name in arrays if name[0] in "Wb" and name[1:].isdigit()}
    np.savez(tmp_path / "weights.npz", **weights)
    return request.param, arrays, layers, str(tmp_path / "weights.npz")


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
def test_the_reference_implementations_time_and_p_come_out(case):
    _, arrays, expected, _ = case
    found = gradflow.stopping_time(arrays["H"], arrays["y_train"], f0=arrays["f0_train"], paper=True)

    time = expected["t_reml_bisect"]
    assert found.time == time == 0.0 or math.isclose(found.time, time, rel_tol=1e-9)
    p = found.result["test"]["p_value_satterthwaite"]
    assert math.isclose(p, expected["p_value_sf"], rel_tol=1e-7)


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
def test_a_matrix_a_linear_operator_and_a_function_are_one_operator(case):
    _, arrays, _, _ = case
    H, y, f0 = arrays["H"], arrays["y_train"], arrays["f0_train"]
    forms = [H, np.asfortranarray(H), aslinearoperator(H), lambda block: H @ block]
    found = [gradflow.stopping_time(form, y, f0=f0, learning_rate=0.1) for form in forms]

    # A minimiser is known to the square root of rounding; of a flat criterion (case null) to a little less.
    for other in found[1:]:
        assert math.isclose(other.test.log10_pvalue, found[0].test.log10_pvalue, rel_tol=1e-9)
        for name, rule in found[0].rules.items():
            if math.isfinite(rule["time"]):
                assert math.isclose(other.rules[name]["time"], rule["time"], rel_tol=1e-6, abs_tol=1e-12)


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
def test_python_and_the_program_agree_on_a_network(case, program, tmp_path):
    name, _, _, weights = case
    folder = ORACLE / name
    theirs = run_program(
        program,
        tmp_path,
        "stop",
        "--features",
        str(folder / "X_train.npy"),
        "--response",
        str(folder / "y_train.npy"),
        "--weights",
        weights,
        "--standardize",
        "none",
        "--learning-rate",
        "0.1",
    )
    X, y = np.load(folder / "X_train.npy"), np.load(folder / "y_train.npy")
    model = NTKRegressor(weights=weights, standardize="none", learning_rate=0.1).fit(X, y)

    assert_same_numbers(model.result_, theirs)


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": "ridge"},
        {"rule": "gcv", "loss": "mse", "learning_rate": 0.1},
        {"kernel": "ntk:erf:3 + 0.3*linear", "sb2": 0.5},
        {"engine": "krylov"},
        {"select": True, "selection_rows": 100},
        {"select": True, "selection_rows": 60, "refine_rows": 100},
        {"response_transform": "auto"},
    ],
)
def test_python_and_the_program_agree_on_a_kernel(program, tmp_path, options):
    folder = ORACLE / "nonlinear"
    X, y = np.load(folder / "X_train.npy"), np.load(folder / "y_train.npy")
    arguments = []
    for name, value in options.items():
        flag = "--" + name.replace("response_", "").replace("_", "-")
        arguments += [flag] if value is True else [flag, str(value)]
    theirs = run_program(
        program,
        tmp_path,
        "stop",
        "--features",
        str(folder / "X_train.npy"),
        "--response",
        str(folder / "y_train.npy"),
        *arguments,
    )
    model = NTKRegressor(choice_folds=0, average=0, **options).fit(X, y)

    assert_same_numbers(model.result_, theirs)
    assert model.pvalue_ == theirs["test"]["p_value"]
    assert model.stopping_time_ == theirs["chosen"]["time"]


def test_score_test_of_a_description_is_the_programs_test(program, tmp_path):
    folder = ORACLE / "simple"
    theirs = run_program(
        program,
        tmp_path,
        "test",
        "--features",
        str(folder / "X_train.npy"),
        "--response",
        str(folder / "y_train.npy"),
        "--kernel",
        "rbf",
    )
    ours = gradflow.score_test("rbf", np.load(folder / "y_train.npy"), np.load(folder / "X_train.npy"))

    assert_same_numbers(ours.result, theirs)


def test_the_tests_beside_the_score_test_are_the_programs(program, tmp_path):
    folder = ORACLE / "simple"
    theirs = run_program(
        program,
        tmp_path,
        "test",
        "--features",
        str(folder / "X_train.npy"),
        "--response",
        str(folder / "y_train.npy"),
        "--likelihood-ratio",
        "--permutations",
        "200",
        "--also",
        "rbf",
        "--also",
        "linear",
        "--group",
        "x1,x3",
        "--draws",
        "500",
    )
    X, y = np.load(folder / "X_train.npy"), np.load(folder / "y_train.npy")
    ours = gradflow.score_test(
        "ntk:relu:2",
        y,
        X,
        likelihood_ratio=True,
        permutations=200,
        also=["rbf", "linear"],
        group=[0, "x3"],
        draws=500,
    )

    assert_same_numbers(ours.result, theirs)
    assert set(ours.further) == {"likelihood_ratio_test", "permutation_test", "grid_test", "component_test"}
    matrix = gradflow.score_test(gradflow.kernel_matrix("ntk:relu:2", X), y, permutations=200)
    assert matrix.further["permutation_test"]["p_value"] == ours.further["permutation_test"]["p_value"]


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
@pytest.mark.parametrize("name", ["yacht", "wine-red"])
def test_python_and_the_program_agree_on_shared_data(program, tmp_path, name):
    files = sorted((SHARED / name).glob("*.csv*")) if SHARED.is_dir() else []
    if not files:
        pytest.skip(f"no ../shared/data/{name}: the comparison on larger data was left out")
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(files[0], nrows=600)
    table = tmp_path / "data.csv"
    frame.to_csv(table, index=False, float_format="%.17g")
    target = str(frame.columns[-1])
    theirs = run_program(program, tmp_path, "stop", str(table), "--target", target)
    frame = pandas.read_csv(table)

    assert_same_numbers(NTKRegressor().fit(frame.drop(columns=target), frame[target]).result_, theirs)


def frame_and_table(tmp_path):
    pandas = pytest.importorskip("pandas")
    random = np.random.default_rng(4)
    frame = pandas.DataFrame(
        {
            "a": random.standard_normal(90),
            "b": random.uniform(size=90),
            "kind": random.choice(["x", "y, z", "w"], 90),
        }
    )
    frame["y"] = np.sin(2 * frame["a"]) + (frame["kind"] == "x") + 0.3 * random.standard_normal(90)
    frame.loc[7, "b"] = np.nan
    frame.to_csv(tmp_path / "data.csv", index=False, float_format="%.17g")
    return frame, str(tmp_path / "data.csv")


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
@pytest.mark.parametrize("missing", ["drop", "mean"])
def test_a_frame_and_its_table_give_the_same_numbers(program, tmp_path, missing):
    frame, table = frame_and_table(tmp_path)
    theirs = run_program(program, tmp_path, "stop", table, "--target", "y", "--missing", missing)
    model = NTKRegressor(missing=missing).fit(frame.drop(columns="y"), frame["y"])

    assert_same_numbers(model.result_, theirs)


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
def test_weights_and_covariates_are_the_programs(program, tmp_path):
    frame, _ = frame_and_table(tmp_path)
    frame = frame.dropna()
    weights = np.linspace(0.5, 2.0, len(frame))
    frame.assign(w=weights).to_csv(tmp_path / "w.csv", index=False, float_format="%.17g")
    theirs = run_program(
        program,
        tmp_path,
        "stop",
        str(tmp_path / "w.csv"),
        "--target",
        "y",
        "--row-weights",
        "w",
        "--covariates",
        "b",
    )
    model = NTKRegressor(covariates=["b"]).fit(frame.drop(columns="y"), frame["y"], row_weights=weights)

    assert_same_numbers(model.result_, theirs)


def predicted_by(program, model, table, *arguments):
    done = subprocess.run(
        [program, "predict", str(model), str(table), "-o", "-", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
def test_model_files_are_shared_both_ways(program, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame, table = frame_and_table(tmp_path)
    features = frame.drop(columns="y")
    ours = NTKRegressor(missing="mean", learning_rate=0.1).fit(features, frame["y"])
    ours.save(tmp_path / "ours.model")
    subprocess.run(
        [
            program,
            "fit",
            table,
            "--target",
            "y",
            "--missing",
            "mean",
            "-o",
            str(tmp_path / "theirs.model"),
            "--quiet",
        ],
        check=True,
    )
    theirs = gradflow.load(tmp_path / "theirs.model")
    loaded = gradflow.load(tmp_path / "ours.model")

    mean, sd = ours.predict(features, return_std=True)
    np.testing.assert_array_equal(theirs.predict(features), mean)
    np.testing.assert_array_equal(loaded.predict(features, return_std=True)[1], sd)
    assert (loaded.stopping_time_, loaded.steps_, loaded.rule_) == (
        ours.stopping_time_,
        ours.steps_,
        ours.rule_,
    )
    with open(tmp_path / "new.csv", "w", encoding="utf-8") as file:
        file.write(predicted_by(program, tmp_path / "ours.model", table))
    written = pandas.read_csv(tmp_path / "new.csv")
    low, high = ours.predict_interval(features)
    for column, values in (("mean", mean), ("sd", sd), ("lower", low), ("upper", high)):
        np.testing.assert_allclose(written[column], values, rtol=TOLERANCE)


def test_models_of_arrays_are_shared_both_ways(program, tmp_path):
    folder = ORACLE / "simple"
    X, y, X_new = (np.load(folder / f"{name}.npy") for name in ("X_train", "y_train", "X_test"))
    ours = NTKRegressor().fit(X, y)
    ours.save(tmp_path / "ours.model")
    done = subprocess.run(
        [
            program,
            "predict",
            str(tmp_path / "ours.model"),
            "--features",
            str(folder / "X_test.npy"),
            "-o",
            "-",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    means = [float(line.split(",")[1]) for line in done.stdout.splitlines()[1:]]

    np.testing.assert_allclose(means, ours.predict(X_new), rtol=TOLERANCE)
    subprocess.run(
        [
            program,
            "fit",
            "--features",
            str(folder / "X_train.npy"),
            "--response",
            str(folder / "y_train.npy"),
            "-o",
            str(tmp_path / "theirs.model"),
            "--quiet",
        ],
        check=True,
    )
    np.testing.assert_array_equal(
        gradflow.load(tmp_path / "theirs.model").predict(X_new), ours.predict(X_new)
    )


@pytest.mark.filterwarnings("ignore::gradflow.GradflowWarning")
def test_models_of_classes_are_shared_both_ways(program, tmp_path):
    frame, _ = frame_and_table(tmp_path)
    frame = frame.dropna().assign(y=lambda f: np.where(f["y"] > f["y"].median(), "high", "low"))
    table = tmp_path / "classes.csv"
    frame.to_csv(table, index=False, float_format="%.17g")
    document = run_program(
        program,
        tmp_path,
        "fit",
        str(table),
        "--target",
        "y",
        "--classes",
        "-o",
        str(tmp_path / "theirs.model"),
    )
    features = frame.drop(columns="y")
    ours = NTKClassifier().fit(features, frame["y"])
    ours.save(tmp_path / "ours.model")

    assert_same_numbers(ours.result_, document)
    theirs = gradflow.load(tmp_path / "theirs.model")
    assert isinstance(theirs, NTKClassifier)
    np.testing.assert_array_equal(theirs.predict_proba(features), ours.predict_proba(features))
    np.testing.assert_array_equal(
        gradflow.load(tmp_path / "ours.model").predict(features), ours.predict(features)
    )
    lines = predicted_by(program, tmp_path / "ours.model", table).splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == list(ours.predict(features))


def test_the_kernel_matrix_is_the_programs(program, tmp_path):
    folder = ORACLE / "simple"
    subprocess.run(
        [
            program,
            "kernel",
            "--features",
            str(folder / "X_train.npy"),
            "-o",
            str(tmp_path / "H.npy"),
            "--quiet",
        ],
        check=True,
    )
    X, X_new = np.load(folder / "X_train.npy"), np.load(folder / "X_test.npy")

    np.testing.assert_array_equal(gradflow.kernel_matrix("ntk:relu:2", X), np.load(tmp_path / "H.npy"))
    assert gradflow.kernel_matrix("ntk:relu:2", X, X_new).shape == (len(X_new), len(X))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradflow.spectrum("ntk:relu:2", X=X)
