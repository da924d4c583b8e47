"""Arrays and data frames as the library's columns, without copying float64 memory."""

import numpy as np

from gradflow import _core


def is_frame(X):
    return hasattr(X, "columns") and hasattr(X, "iloc")


def column_names(X):
    return [str(name) for name in X.columns]


def free_name(wanted, taken):
    """`wanted`, or with a number behind it where a column has that name."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def as_numbers(values, what):
    """float64, without a copy where it is that already."""
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise ValueError(f"Complex data not supported: {what} is complex")
    return np.asarray(array, dtype=np.float64)


def _is_missing(value):
    return value is None or value != value or type(value).__name__ == "NAType"


def _add_series(columns, name, series):
    """A column of a frame: numbers and booleans as numbers, everything else as categories."""
    kind = getattr(series.dtype, "kind", "O")
    if kind in "fiub" and isinstance(series.dtype, np.dtype):
        columns.add_numbers(name, np.asarray(series.to_numpy(), dtype=np.float64))
        return
    if kind in "fiub":  # pandas' own numbers with a mask
        columns.add_numbers(name, series.to_numpy(dtype=np.float64, na_value=np.nan))
        return
    columns.add_texts(name, [None if _is_missing(value) else str(value) for value in series])


def add_features(columns, X):
    """Adds the columns of an array or a frame; their names."""
    if is_frame(X):
        names = column_names(X)
        for position, name in enumerate(names):
            _add_series(columns, name, X.iloc[:, position])
        return names
    columns.add_matrix(X, [])
    return [f"x{j + 1}" for j in range(X.shape[1])]


def feature_columns(X, names=None, source="X"):
    """New rows; `names` are those of training, for an array where training had a frame."""
    columns = _core.Columns(source)
    if is_frame(X) or names is None:
        add_features(columns, X)
    else:
        columns.add_matrix(X, list(names))
    return columns


def training_columns(X, y, y_name="y", weights=None):
    """(columns, name of the response, name of the weights or None)."""
    columns = _core.Columns("the data")
    names = set(add_features(columns, X))
    target = free_name(y_name, names)
    if isinstance(y, list):
        columns.add_texts(target, y)
    else:
        columns.add_numbers(target, y)
    if weights is None:
        return columns, target, None
    weights_name = free_name("row_weights", names | {target})
    columns.add_numbers(weights_name, weights)
    return columns, target, weights_name
