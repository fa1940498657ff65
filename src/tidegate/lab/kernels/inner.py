"""Kernels that only kernels call: compiled without a door for Python, which would cost the most."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit


F = TypeVar("F", bound=Callable[..., Any])


def inner(function: F) -> F:
    """Compile as `domain.units.kernel` does, for callers that are compiled themselves.

    Taking a desk of sixteen columns from Python's objects, and checking each, is more code than
    most of the functions that work on it.
    """
    flags: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast("F", njit(cache=True, nogil=True, **flags)(function))
