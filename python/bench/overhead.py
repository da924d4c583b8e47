"""What Python costs beside the library: ./x python --bench [ROWS]

Time: a fit's wall time against the library's own stages within the same call, so that a busy machine slows
both; and, beside it, the program's wall time on the same arrays. Memory: the peak that handing the data over
adds.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

import gradflow
from gradflow._data import training_columns

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build" / "release" / "src" / "cli" / "gradflow"


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def data(rows, features, seed=1):
    random = np.random.default_rng(seed)
    X = random.standard_normal((rows, features))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] + random.standard_normal(rows)


def time_of_fit(X, y, **options):
    """(wall, of the library's stages) in seconds."""
    began = time.perf_counter()
    model = gradflow.NTKRegressor(**options).fit(X, y)
    wall = time.perf_counter() - began
    return wall, sum(model.seconds_.values())


def time_of_program(X, y):
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/X.npy", X)
        np.save(f"{folder}/y.npy", y)
        began = time.perf_counter()
        subprocess.run(
            [
                PROGRAM,
                "fit",
                "--features",
                f"{folder}/X.npy",
                "--response",
                f"{folder}/y.npy",
                "-o",
                f"{folder}/m",
                "--json",
                f"{folder}/j",
                "--quiet",
            ],
            check=True,
            capture_output=True,
        )
        wall = time.perf_counter() - began
        return wall, sum(json.loads(pathlib.Path(f"{folder}/j").read_text())["seconds"].values())


def time_of_matrix(rows):
    """A kernel matrix of n x n through `score_test`: (wall, of which the library's test)."""
    X, y = data(rows, 3)
    H = gradflow.kernel_matrix("rbf", X)
    began = time.perf_counter()
    found = gradflow.score_test(H, y, engine="krylov")
    return time.perf_counter() - began, sum(found.result["seconds"].values())


def main(rows):
    warnings.simplefilter("ignore")
    X, y = data(rows, 10)
    print(f"n = {rows}, d = 10, {gradflow.threads()} threads")
    wall, library = time_of_fit(X, y)
    print(
        f"fit:            {wall:8.2f} s, of the library's stages {library:8.2f} s: "
        f"{100 * (wall / library - 1):.2f} % beside them"
    )
    if PROGRAM.exists():
        program, stages = time_of_program(X, y)
        print(
            f"the program:    {program:8.2f} s, of the library's stages {stages:8.2f} s: "
            f"{100 * (program / stages - 1):.2f} % beside them"
        )
    wall, library = time_of_matrix(rows)
    print(
        f"matrix test:    {wall:8.2f} s, of the library's test   {library:8.2f} s (the rest: its "
        "copy of the matrix)"
    )

    X, y = data(400_000, 50)
    before = peak_megabytes()
    training_columns(X, y)
    handed = peak_megabytes() - before
    print(f"memory: {X.nbytes / 2**20:.0f} MB of features, C order: handing them over adds {handed:.1f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
