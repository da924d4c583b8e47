"""Loads the compiled part with the BLAS kernels that the processor has.

An OpenBLAS that is older than an Intel processor takes it for one of 2004, and its products run at a fifth of
their speed. It reads OPENBLAS_CORETYPE once, as it is loaded: the variable is set for that moment only, so other
libraries of the process do not see it, and not where the user has set it.
"""

import contextlib
import os
import pathlib

VARIABLE = "OPENBLAS_CORETYPE"
AVX512 = {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}


def wide_core(cpuinfo):
    """OpenBLAS's name of the core for an Intel processor of this /proc/cpuinfo; None: leave it to OpenBLAS."""
    lines = (line.split(":", 1) for line in cpuinfo.splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in lines}
    flags = set(facts.get("flags", "").split())
    if facts.get("vendor_id") != "GenuineIntel":
        return None
    if AVX512 <= flags:
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags else None


@contextlib.contextmanager
def wide_kernels():
    """While OpenBLAS is loaded."""
    core = None
    if VARIABLE not in os.environ:
        with contextlib.suppress(OSError):
            core = wide_core(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    if core is None:
        yield
        return
    os.environ[VARIABLE] = core
    try:
        yield
    finally:
        del os.environ[VARIABLE]


with wide_kernels():
    from gradflow import _core  # noqa: F401
