"""The installed wheel where there is no compiler and only its own libraries: imports, fits, predicts."""

import pathlib
import shutil
import sys

import numpy as np

import gradflow

for compiler in ("cc", "gcc", "g++", "c++", "clang", "ld", "cmake", "ninja"):
    assert shutil.which(compiler) is None, f"{compiler} is on PATH: this is no test of a machine without one"
assert "torch" not in sys.modules and "pandas" not in sys.modules and "matplotlib" not in sys.modules

random = np.random.default_rng(1)
X = random.standard_normal((80, 3))
y = np.tanh(2.0 * X[:, 0]) + 0.3 * random.standard_normal(80)
model = gradflow.NTKRegressor().fit(X, y)
assert model.pvalue_ < 1e-6 and np.isfinite(model.predict(X, return_std=True)).all()

# The extension's linear algebra is the wheel's own copy, not the machine's.
needed = ("openblas", "lapacke", "nlopt", "libfmt")
mapped = {
    line.split()[-1] for line in pathlib.Path("/proc/self/maps").read_text().splitlines() if "/" in line
}
foreign = [path for path in mapped if any(name in path for name in needed) and sys.prefix not in path]
assert not foreign, f"libraries from outside the wheel: {foreign}"
print(
    f"gradflow {gradflow.__version__}: p = {model.pvalue_:.3g}, time = {model.stopping_time_:.4g}; without a "
    f"compiler, {sum('gradflow' in path for path in mapped)} files of the wheel in use"
)
