"""Test error and log density of scikit-learn on standard splits, as `bench/accuracy_peers.json` keeps them.

    tools/table_peers.py OUT.json FOLDER... [--copies once] [--splits N] [--methods NAME ...]

A folder holds data.csv (header; the last column is the response) and splits.json ("train" and "test": lists of
0-based rows). --copies once drops rows equal to an earlier one from the whole table, as ./x bench accuracy does
under "NAME, copies once". Methods:

    random forest          RandomForestRegressor, 500 trees; density: normal with the out-of-bag mean square error
    boosting               HistGradientBoostingRegressor, defaults
    boosting, early stop   the same with early stopping, at most 1,000 rounds
    GP, RBF-ARD            GaussianProcessRegressor, constant * RBF with relevances + white noise, by marginal likelihood
    MLP 512x2              MLPRegressor, early stopping

A column with text becomes an indicator of each of its values. Features and response are standardised on the training
part; seeds are the split's number. A method without a density has null. Each pair is mean and standard error over the
splits. Needs numpy and scikit-learn.
"""

import argparse
import csv
import json
import math
import pathlib
import sys
import warnings

import numpy
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler


def forest(X, y, X_new, seed):
    model = RandomForestRegressor(500, random_state=seed, oob_score=True, n_jobs=1).fit(X, y)
    spread = math.sqrt(numpy.mean((model.oob_prediction_ - y) ** 2))
    return model.predict(X_new), numpy.full(len(X_new), spread)


def gaussian_process(X, y, X_new, _):
    kernel = ConstantKernel(1.0) * RBF(numpy.ones(X.shape[1]), (1e-2, 1e4)) + WhiteKernel(0.1, (1e-8, 10.0))
    return GaussianProcessRegressor(kernel).fit(X, y).predict(X_new, return_std=True)


def mean_only(make):
    return lambda X, y, X_new, seed: (make(seed).fit(X, y).predict(X_new), None)


METHODS = {
    "random forest": forest,
    "boosting": mean_only(lambda seed: HistGradientBoostingRegressor(random_state=seed)),
    "boosting, early stop": mean_only(lambda seed: HistGradientBoostingRegressor(
        max_iter=1000, early_stopping=True, random_state=seed)),
    "GP, RBF-ARD": gaussian_process,
    "MLP 512x2": mean_only(lambda seed: MLPRegressor(hidden_layer_sizes=(512, 512), early_stopping=True, max_iter=500,
                                                     random_state=seed)),
}


def log_density(truth, mean, spread, scale):
    spread = spread * scale
    return float(numpy.mean(-0.5 * math.log(2 * math.pi) - numpy.log(spread) - 0.5 * ((truth - mean) / spread) ** 2))


def score(method, table, train, test, split):
    features, response = StandardScaler().fit(table[train, :-1]), StandardScaler().fit(table[train, -1:])
    scale = float(response.scale_[0])
    mean, spread = METHODS[method](features.transform(table[train, :-1]),
                                   response.transform(table[train, -1:])[:, 0],
                                   features.transform(table[test, :-1]), split)
    truth, mean = table[test, -1], mean * scale + response.mean_[0]
    return (math.sqrt(numpy.mean((truth - mean) ** 2)),
            math.nan if spread is None else log_density(truth, mean, spread, scale))


def columns_of(texts):
    """A column of numbers, or an indicator of each value of a column with text."""
    try:
        return [numpy.array([float(text) for text in texts])]
    except ValueError:
        texts = numpy.array(texts)
        return [(texts == value).astype(float) for value in numpy.unique(texts)]


def read_table(path):
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return numpy.column_stack([column for texts in zip(*rows) for column in columns_of(texts)])


def copies_of(table):
    """Rows equal to an earlier one."""
    first = {}
    return {i for i, row in enumerate(map(tuple, table)) if first.setdefault(row, i) != i}


def pair(values):
    if numpy.isnan(values).any():
        return None
    error = numpy.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return [float(numpy.mean(values)), None if math.isnan(error) else float(error)]


def run_set(folder, options):
    table = read_table(folder / "data.csv")
    splits = json.loads((folder / "splits.json").read_text())
    dropped = copies_of(table) if options.copies == "once" else set()
    count = min(options.splits, len(splits["train"]))
    result = {}
    for method in options.methods:
        scores = numpy.array([score(method, table,
                                    [row for row in splits["train"][split] if row not in dropped],
                                    [row for row in splits["test"][split] if row not in dropped], split)
                              for split in range(count)])
        result[method] = {"rmse": pair(scores[:, 0]), "log_density": pair(scores[:, 1])}
        print(folder.name, method, result[method], file=sys.stderr, flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    parser.add_argument("--copies", choices=["all", "once"], default="all")
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # bounds reached and searches not converged: scikit-learn's own defaults
    once = ", copies once" if options.copies == "once" else ""
    result = {folder.name + once: run_set(folder, options) for folder in options.folders}
    temporary = options.out.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.rename(options.out)


if __name__ == "__main__":
    main()
