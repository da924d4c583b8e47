"""Gradient-flow training as random-effects inference: is training worth it, how long, how sure?

NTKRegressor, NTKClassifier            scikit-learn estimators
score_test, stopping_time, spectrum    the same answers for any operator: a kernel matrix, a description, a
                                       scipy LinearOperator, a function on blocks
gradflow.torch                         the operator of a PyTorch network, and when to stop training it
load                                   a model file, of Python or of the gradflow program
report                                 a page to look at, of a fit, a model file or a run
"""

from gradflow import _blas  # noqa: F401, I001  first: it loads the compiled part
from gradflow._classifier import NTKClassifier
from gradflow._core import set_threads, threads
from gradflow._core import version as __version__
from gradflow._functions import (
    ScoreTest,
    Spectrum,
    StoppingTime,
    kernel_matrix,
    load,
    score_test,
    spectrum,
    stopping_time,
)
from gradflow._regressor import NTKRegressor
from gradflow._report import Report, report
from gradflow._warnings import GradflowWarning

__all__ = [
    "GradflowWarning",
    "NTKClassifier",
    "NTKRegressor",
    "Report",
    "ScoreTest",
    "Spectrum",
    "StoppingTime",
    "__version__",
    "kernel_matrix",
    "load",
    "report",
    "score_test",
    "set_threads",
    "spectrum",
    "stopping_time",
    "threads",
]
