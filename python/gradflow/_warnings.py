"""How gradflow says that a result needs reading with care, and its errors under Python's names."""

import contextlib
import re
import warnings

_OPTION = re.compile(r"--([a-z][a-z0-9-]*)")


class GradflowWarning(UserWarning):
    """Rows left out, constant columns, a search that did not converge, an interval wider than it need be."""


def in_python(sentence):
    """The sentence with the program's options under the names of Python's parameters."""
    return _OPTION.sub(lambda match: match.group(1).replace("-", "_"), sentence)


def warn(sentences, stacklevel=3):
    for sentence in sentences:
        warnings.warn(in_python(sentence), GradflowWarning, stacklevel=stacklevel)


@contextlib.contextmanager
def python_names():
    """The library's ValueErrors, naming parameters as Python does."""
    try:
        yield
    except ValueError as error:
        renamed = in_python(str(error))
        if type(error) is not ValueError or renamed == str(error):
            raise
        raise ValueError(renamed) from None
