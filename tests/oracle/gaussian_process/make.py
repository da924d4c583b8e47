"""Writes data.csv, new.csv and expected.csv of this folder: python3 make.py (scikit-learn 1.9.1, numpy 2.4.6).

y ~ N(0, c k(X, X) + s2 I), no fixed effects: scikit-learn's GaussianProcessRegressor without an optimiser, its log
marginal likelihood and the mean and standard deviation of f at new points.
"""
import csv

import numpy as np
import sklearn
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern, WhiteKernel

rng = np.random.default_rng(20260521)
n, m, d = 60, 12, 3
X = rng.normal(size=(n, d)).round(4)
X_new = (1.5 * rng.normal(size=(m, d))).round(4)
y = (np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] * X[:, 2] + 0.4 * rng.normal(size=n)).round(4)

with open("data.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows([["x1", "x2", "x3", "y"], *np.column_stack([X, y]).tolist()])
with open("new.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows([["x1", "x2", "x3"], *X_new.tolist()])

kernels = {
    "rbf": RBF(1.5, "fixed"),                                # exp(-|x - x'|^2 / (2 1.5^2))
    "matern32": Matern(2.0, "fixed", nu=1.5),                # (1 + r) exp(-r), r = sqrt(3) |x - x'| / 2
    "linear": DotProduct(0.7, "fixed"),                      # x.x' + 0.7^2
}
settings = [(1.0, 0.16), (0.3, 0.5), (25.0, 0.01)]           # c, s2

rows = []
for name, kernel in kernels.items():
    for c, s2 in settings:
        model = GaussianProcessRegressor(ConstantKernel(c, "fixed") * kernel, alpha=s2, optimizer=None).fit(X, y)
        mean, sd = model.predict(X_new, return_std=True)
        add = lambda quantity, values: rows.extend(
            [name, c, s2, quantity, i, repr(float(value))] for i, value in enumerate(np.atleast_1d(values)))
        add("log_marginal_likelihood", model.log_marginal_likelihood_value_)
        add("mean", mean)
        add("sd", sd)
    # Maximum likelihood of c and s2, scikit-learn's own optimiser (L-BFGS-B) from the default start.
    best = GaussianProcessRegressor(ConstantKernel(1.0, (1e-6, 1e6)) * kernel + WhiteKernel(0.1, (1e-6, 1e6)), alpha=0.0,
                                    n_restarts_optimizer=10, random_state=0).fit(X, y)
    c, s2 = np.exp(best.kernel_.theta)
    rows.append([name, repr(float(c)), repr(float(s2)), "largest_log_marginal_likelihood", 0,
                 repr(float(best.log_marginal_likelihood_value_))])

with open("expected.csv", "w", newline="") as file:
    csv.writer(file, lineterminator="\n").writerows([["kernel", "c", "s2", "quantity", "index", "value"], *rows])
print("scikit-learn", sklearn.__version__, "numpy", np.__version__)
