"""What the tests share: the repository's folders, the program, warnings as errors where none is expected."""

import os
import pathlib
import shutil

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORACLE = ROOT / "tests" / "oracle"
CASES = ["simple", "deep", "highdim", "nonlinear", "null", "null-root"]


@pytest.fixture(scope="session")
def program():
    """The gradflow program: GRADFLOW_PROGRAM, the release build's, or the one on PATH."""
    for candidate in (
        os.environ.get("GRADFLOW_PROGRAM"),
        ROOT / "build" / "release" / "src" / "cli" / "gradflow",
    ):
        if candidate and os.access(candidate, os.X_OK):
            return str(candidate)
    found = shutil.which("gradflow")
    if found is None:
        pytest.skip("no gradflow program: build the release preset or set GRADFLOW_PROGRAM")
    return found


@pytest.fixture
def friedman():
    """(X, y) of Friedman's first function: 300 rows, 10 features of which 5 matter, noise variance 4."""
    random = np.random.default_rng(11)
    X = random.uniform(size=(300, 10))
    y = (
        10 * np.sin(np.pi * X[:, 0] * X[:, 1])
        + 20 * (X[:, 2] - 0.5) ** 2
        + 10 * X[:, 3]
        + 5 * X[:, 4]
        + 2.0 * random.standard_normal(300)
    )
    return X, y


def case_arrays(name):
    """The arrays of a fixture by name."""
    return {file.stem: np.load(file) for file in (ORACLE / name).glob("*.npy")}
