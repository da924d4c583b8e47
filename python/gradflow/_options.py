"""The program's options as Python values, turned into what its own reader takes."""

import numbers

from gradflow import _core

FLAGS = ("no_bias", "no_intercept", "paper", "select", "kernel_grid", "likelihood_ratio", "binary")
LISTS = ("covariates", "columns", "exclude", "categorical", "also", "group", "noise_columns")


def as_text(name, value):
    """The text of an option as one would type it; a float in full precision."""
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return repr(float(value))
    raise TypeError(f"{name} = {value!r}: must be a number or a text, not {type(value).__name__}")


def as_list(name, value):
    """Names of columns; an integer is a 0-based position."""
    values = [value] if isinstance(value, (str, numbers.Integral)) else list(value)
    texts = []
    for each in values:
        if isinstance(each, numbers.Integral) and not isinstance(each, bool):
            texts.append(f"#{int(each) + 1}")
        elif isinstance(each, str):
            texts.append(each)
        else:
            raise TypeError(f"{name}: {each!r} is not the name or the position of a column")
    return texts


def make_options(given):
    """_core.Options of a dictionary; None stands for the program's default."""
    texts, flags, lists = {}, {}, {}
    for name, value in given.items():
        name = "transform" if name == "response_transform" else name
        if name in FLAGS:
            flags[name] = bool(value)
        elif value is None:
            continue
        elif name in LISTS:
            lists[name] = as_list(name, value)
        elif name == "candidates" and not isinstance(value, str):
            texts[name] = ";".join(value)
        elif name == "transform" and isinstance(value, tuple):
            texts[name] = f"{value[0]}={as_text(name, value[1])}"
        else:
            texts[name] = as_text(name, value)
    return _core.Options(texts, flags, lists)
