"""The kernels of BLAS that the compiled part is loaded with."""

import os
import pathlib
import subprocess
import sys

import pytest

from gradflow import _blas

WIDE = "fma avx2 avx512f avx512dq avx512cd avx512bw avx512vl"


@pytest.mark.parametrize(
    ("vendor", "flags", "core"),
    [
        ("GenuineIntel", WIDE, "SkylakeX"),
        ("GenuineIntel", "sse3 fma avx2 avx512f", "Haswell"),
        ("GenuineIntel", "sse3 avx", None),
        ("AuthenticAMD", WIDE, None),
    ],
)
def test_the_core_follows_from_the_processors_flags(vendor, flags, core):
    one = f"processor\t: 0\nvendor_id\t: {vendor}\nmodel\t\t: 207\nflags\t\t: fpu {flags}\nbugs\t\t:\n\n"
    assert _blas.wide_core(2 * one) == core


def test_an_unknown_file_is_left_to_openblas():
    assert _blas.wide_core("") is None
    assert _blas.wide_core("Processor : ARMv8\nFeatures : fp asimd\n") is None


def loaded(**environment):
    """The core that is loaded, and what the environment has of it afterwards."""
    code = "import os, gradflow; print(gradflow._core.blas_core(), os.environ.get('OPENBLAS_CORETYPE'))"
    kept = {name: value for name, value in os.environ.items() if name != _blas.VARIABLE}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, check=True, capture_output=True, text=True
    )
    return run.stdout.split()


def test_wide_kernels_are_loaded_and_the_environment_stays():
    core, variable = loaded()
    assert variable == "None"
    wide = _blas.wide_core(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    if wide is not None:
        assert core == wide


def test_the_users_core_is_kept():
    assert loaded(OPENBLAS_CORETYPE="Prescott")[1] == "Prescott"
