"""Operators of the caller's, errors, warnings, progress, interruption, memory."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from conftest import ROOT
from scipy.sparse.linalg import LinearOperator

import gradflow
from gradflow import _core


def problem(n=120, seed=1):
    """(H, y) with signal along the leading eigenvectors."""
    random = np.random.default_rng(seed)
    factor = random.standard_normal((n, n)) / np.sqrt(n)
    H = factor @ np.diag(1.0 / np.arange(1, n + 1)) @ factor.T
    return H, 30.0 * H @ random.standard_normal(n) + random.standard_normal(n)


def test_covariates_are_projected_off():
    H, y = problem()
    Z = np.random.default_rng(2).standard_normal((120, 2))
    plain = gradflow.score_test(H, y, covariates=Z)
    moved = gradflow.score_test(H, y + 100.0 + Z @ [5.0, -7.0], covariates=Z)

    assert moved.pvalue == pytest.approx(plain.pvalue, rel=1e-8)


def test_the_spectrum_is_numpys():
    H, y = problem()
    n = len(y)
    Q = np.linalg.svd(np.ones((n, 1)))[0][:, 1:]
    expected = np.sort(np.linalg.eigvalsh(Q.T @ H @ Q))[::-1]

    for found in (gradflow.spectrum(H), gradflow.spectrum(H, y)):
        np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-12)
    assert found.coordinates @ found.coordinates == pytest.approx(((y - y.mean()) ** 2).sum())
    assert len(gradflow.spectrum(H, no_intercept=True).eigenvalues) == n


def test_products_alone_give_the_dense_answer_within_the_engines_promise():
    H, y = problem(400)
    calls = []

    def product(block):
        calls.append(block.shape[1])
        return H @ block

    dense = gradflow.stopping_time(H, y, rule="reml-flow")
    found = gradflow.stopping_time(
        LinearOperator((400, 400), matvec=lambda v: H @ v, matmat=product),
        y,
        rule="reml-flow",
        engine="krylov",
        rules="chosen",
    )

    assert found.time == pytest.approx(dense.time, rel=1e-6)
    assert abs(found.test.log10_pvalue - dense.test.log10_pvalue) < max(
        0.05, 0.005 * abs(dense.test.log10_pvalue)
    )
    assert len(calls) > 3


def test_what_a_product_raises_is_what_the_caller_sees():
    class Broken(Exception):
        pass

    def product(block):
        raise Broken("no product today")

    with pytest.raises(Broken, match="no product today"):
        gradflow.score_test(product, np.arange(10.0))

    H, y = problem()
    calls = []

    def late(block):
        calls.append(1)
        if len(calls) > 2:
            raise Broken("later")
        return H @ block

    with pytest.raises(Broken, match="later"):
        gradflow.score_test(late, y, engine="krylov")


@pytest.mark.parametrize(
    "operator, sentence",
    [
        (np.ones((3, 4)), "must be square"),
        (np.triu(np.ones((12, 12))), "symmetric"),
        (lambda block: np.triu(np.ones((12, 12))) @ block, "not symmetric"),
        (lambda block: np.full(block.shape, np.nan), "not finite"),
        (-np.eye(12), "operator"),
    ],
)
def test_operators_that_are_none_are_refused(operator, sentence):
    with pytest.raises(ValueError, match=sentence):
        gradflow.score_test(operator, np.arange(12.0))


def test_wrong_types_and_sizes_are_refused():
    H, y = problem()
    with pytest.raises(TypeError, match="neither a matrix"):
        gradflow.score_test(object(), y)
    with pytest.raises(TypeError, match="unexpected keyword argument 'rulez'"):
        gradflow.stopping_time(H, y, rulez="gcv")
    with pytest.raises(ValueError, match="120 rows"):
        gradflow.score_test(H, y[:-1])
    with pytest.raises(ValueError, match="every value must be finite"):
        gradflow.score_test(H, np.where(np.arange(120) == 3, np.nan, y))
    with pytest.raises(ValueError, match="give them as X"):
        gradflow.score_test("ntk:relu:2", y)
    with pytest.raises(ValueError, match="Complex data"):
        gradflow.score_test(H.astype(complex), y)


def test_warnings_have_a_category_of_their_own():
    random = np.random.default_rng(1)
    X = np.column_stack([random.standard_normal(60), np.ones(60)])
    with pytest.warns(gradflow.GradflowWarning, match="Constant columns") as caught:
        gradflow.score_test("ntk:relu:2", random.standard_normal(60), X)
    assert caught[0].filename == __file__


def test_verbose_shows_a_bar_and_nothing_otherwise(capsys):
    pytest.importorskip("tqdm")
    H, y = problem()
    gradflow.stopping_time(H, y)
    assert capsys.readouterr().err == ""
    gradflow.stopping_time(H, y, verbose=True)
    assert "%" in capsys.readouterr().err


def test_other_threads_run_while_ours_works():
    H, y = problem(700)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.002)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    gradflow.stopping_time(H, y)
    ended = time.perf_counter()
    stop.set()
    thread.join()
    assert sum(began < moment < ended for moment in ticks) >= (ended - began) / 0.05


INTERRUPTED = """
import numpy as np, gradflow
random = np.random.default_rng(1)
X, y = random.standard_normal((3000, 5)), random.standard_normal(3000)
print("ready", flush=True)
try:
    while True:
        gradflow.stopping_time("ntk:relu:2", y, X, engine="krylov", storage="none")
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def test_control_c_ends_a_long_call():
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1.5)
        os.kill(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert output == "interrupted\n"


def test_importing_needs_no_torch():
    code = "import sys, gradflow; print(sorted({'torch', 'matplotlib', 'tqdm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


MEMORY = """
import resource, sys, numpy as np
from gradflow import _core
from gradflow._data import training_columns
X, y = np.ones((200_000, 100)), np.ones(200_000)
X[0, 0] = 2.0
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
columns, *_ = training_columns(X, y)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_c_ordered_array_is_not_copied_on_its_way_in():
    """160 MB of features: handing them over may not take a tenth of that."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 16_000  # kB


def test_arrays_of_another_type_are_never_converted_silently():
    columns = _core.Columns("X")
    with pytest.raises(TypeError):
        columns.add_matrix(np.ones((3, 2), dtype=np.float32), [])


def test_the_extensions_interface_is_the_reviewed_one():
    """The generated stubs against python/tests/core.pyi.ref; a changed interface is to be looked at."""
    generated = (pathlib.Path(gradflow.__file__).parent / "_core.pyi").read_text(encoding="utf-8")
    reviewed = ROOT / "python" / "tests" / "core.pyi.ref"
    if os.environ.get("GRADFLOW_WRITE_DOCS") == "1":
        reviewed.write_text(generated, encoding="utf-8")

    def interface(text):
        starts = ("def ", "class ", "@")
        return [line.strip() for line in text.splitlines() if line.strip().startswith(starts)]

    assert interface(generated) == interface(reviewed.read_text(encoding="utf-8"))


def mypy(*arguments):
    pytest.importorskip("mypy")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--no-incremental",
            "--cache-dir=/dev/null",
            "--ignore-missing-imports",
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "python" / "tests",
    )
    return done.returncode, done.stdout


def test_the_package_fits_its_annotations_and_the_extensions_stubs():
    code, said = mypy("-p", "gradflow")
    assert code == 0, said


def test_a_callers_types_are_known_and_checked():
    good = textwrap.dedent("""
        import numpy as np
        import gradflow
        from gradflow import _core
        version: str = _core.version
        test: gradflow.ScoreTest = gradflow.score_test(np.eye(3), [1.0, 2.0, 4.0], no_intercept=True)
        p: float = test.pvalue
        model: gradflow.NTKRegressor = gradflow.NTKRegressor(kernel="rbf").fit(np.eye(3), np.ones(3))
        low, high = model.predict_interval(np.eye(3), level=0.9)
    """)
    assert mypy("--strict", "--allow-untyped-calls", "-c", good)[0] == 0
    code, said = mypy(
        "-c", "import gradflow\ngradflow.score_test([[1.0]], [1.0]).pvalues\n_: int = gradflow.threads"
    )
    assert code == 1 and '"pvalues"' in said and "Incompatible types in assignment" in said
