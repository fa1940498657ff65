"""From decimal numbers of a vector to integers of a scale, and back: units, and no arithmetic."""

from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.conformance.adapter import WAD, column


def fixed(number: float | str, scale: int = WAD) -> int:
    """Return a decimal number as an integer of ``scale``: what is written, not its binary form."""
    return int(Decimal(str(number)) * scale)


def plain(number: int, scale: int = WAD) -> float:
    """Return an integer of ``scale`` as the nearest decimal number."""
    return float(Decimal(int(number)) / scale)


def columns(rows: list[Any], *scales: int) -> tuple[NDArray[Any], ...]:
    """Return one column of integers for each field of ``rows``, in the scale of that field."""
    return tuple(
        column(*(fixed(row[n], scale) for row in rows)) for n, scale in enumerate(scales)
    ) or (np.empty(0, object),)
