"""What an adapter is: a table of rules, each from a vector's inputs to what our code answers."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray


Inputs: TypeAlias = Mapping[str, Any]
Found: TypeAlias = Mapping[str, Any]
Rule: TypeAlias = Callable[[Inputs], Found]
Rules: TypeAlias = Mapping[str, Rule]  # the vector's `rule` -> what answers it

WAD = 10**18
RAY = 10**27
RAD = 10**45


class Unsupported(Exception):
    """A case of a rule is not ours to answer; the text says why."""


class Shown(int):
    """A number of which the peer publishes only the leading digits, the rest cut off.

    It agrees with a published one when cutting ours to the digits shown gives theirs. For fields
    of a rule that a peer's tests assert to so many digits; never for amounts.
    """

    __slots__ = ()

    def cut_to(self, published: int) -> int:
        """Return this number with as many trailing zeros as ``published`` has."""
        step = 1
        while published and published % (10 * step) == 0:
            step *= 10
        return int(self) // step * step


class Within(NamedTuple):
    """A number of which the peer publishes the range it must lie in, ends included."""

    number: float


def scaled(value: Any, scale: int) -> int:
    """Return a decimal number, as text or float, as an integer at ``scale``, nearest."""
    exact = Fraction(str(value)) * scale
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


def column(*numbers: int) -> NDArray[Any]:
    """Return a column of unbounded integers, for kernels that run uncompiled."""
    out = np.empty(len(numbers), object)
    out[:] = [int(n) for n in numbers]
    return out
