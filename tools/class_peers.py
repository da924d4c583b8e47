"""Class probabilities of scikit-learn on the shared classification sets, for `bench/classification.cpp`.

    tools/class_peers.py SHARED/data OUT.json [--sets NAME ...]

For every folder class-* and every fold of its splits.json, probabilities of the test rows by

    random-forest    RandomForestClassifier, 500 trees
    hist-boosting    HistGradientBoostingClassifier, defaults
    svm-rbf          SVC, C and gamma by 4-fold cross-validated accuracy on the training part, probabilities by
                     Platt's method (probability=True)

Features are standardised on the training part; seeds are the fold's number. Needs numpy and scikit-learn.
"""

import argparse
import json
import pathlib
import platform
import sys
import time
import warnings

import numpy
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC


def kernel_svm(X, y, seed):
    grid = {"C": [2.0**k for k in range(-3, 12, 2)],
            "gamma": [2.0**k / X.shape[1] for k in range(-6, 5, 2)]}
    folds = StratifiedKFold(4, shuffle=True, random_state=seed)
    best = GridSearchCV(SVC(), grid, cv=folds, n_jobs=1).fit(X, y).best_params_
    return SVC(probability=True, random_state=seed, **best).fit(X, y)


METHODS = {
    "random-forest": lambda X, y, seed: RandomForestClassifier(500, random_state=seed, n_jobs=1).fit(X, y),
    "hist-boosting": lambda X, y, seed: HistGradientBoostingClassifier(random_state=seed).fit(X, y),
    "svm-rbf": kernel_svm,
}


def probabilities(model, X, classes):
    """One column per class of the whole set; 0 for classes that training did not see."""
    result = numpy.zeros((len(X), classes))
    result[:, model.classes_] = model.predict_proba(X)
    return [[round(float(p), 8) for p in row] for row in result]


def run_fold(X, y, train, test, fold):
    scaler = StandardScaler().fit(X[train])
    classes = int(y.max()) + 1
    out = {}
    for name, fit in METHODS.items():
        start = time.perf_counter()
        model = fit(scaler.transform(X[train]), y[train], fold)
        out[name] = {"probabilities": probabilities(model, scaler.transform(X[test]), classes),
                     "seconds": time.perf_counter() - start}
    return out


def run_set(folder):
    table = numpy.loadtxt(folder / "data.csv", delimiter=",", skiprows=1)
    splits = json.loads((folder / "splits.json").read_text())
    X, y = table[:, :-1], table[:, -1].astype(int)
    return [run_fold(X, y, train, test, fold)
            for fold, (train, test) in enumerate(zip(splits["train"], splits["test"]))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sets", nargs="*", help="folder names; all class-* by default")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)  # SVC(probability=True) will go
    warnings.filterwarnings("ignore", message="The least populated class")
    folders = [options.data / name for name in options.sets] if options.sets else sorted(options.data.glob("class-*"))
    if not folders:
        parser.error(f"{options.data}: no folder class-*")
    result = {"command": sys.argv, "python": platform.python_version(), "scikit-learn": sklearn.__version__,
              "numpy": numpy.__version__, "sets": {}}
    for folder in folders:
        result["sets"][folder.name] = run_set(folder)
        print(folder.name, file=sys.stderr, flush=True)
    options.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
