"""Averages of prices that are observed at irregular times."""

from collections.abc import Iterable
from math import exp


def irregular_average(samples: Iterable[tuple[float, float]], tau: float) -> list[float]:
    """Return the exponential average after each (time since the last, value), unbiased at first.

    num = num * exp(-dt / tau) + value * dt, den likewise with 1: what has been seen counts by how
    long it held, and the first sample is the average. Times are in the unit of ``tau``.

    Source: Hyperliquid documentation, robust price indices.
    """
    top = bottom = 0.0
    out: list[float] = []
    for elapsed, value in samples:
        fade = exp(-elapsed / tau)
        top = top * fade + value * elapsed
        bottom = bottom * fade + elapsed
        out.append(top / bottom if bottom else value)
    return out
