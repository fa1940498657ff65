"""Ledger units and the only rounding in the package.

Everything the engine adds up is an integer. A float may *suggest* a number (a model, an impact
estimate); it becomes money only by passing through this file, with its rounding direction named.
"""

from collections.abc import Callable
from inspect import isfunction
from types import FunctionType
from typing import Any, Final, NewType, TypeAlias, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray


Money = NewType("Money", int)  # 1e-6 of the settlement asset
Amount = NewType("Amount", int)  # an asset, in that asset's own smallest unit
Ticks = NewType("Ticks", int)  # a price, in ticks of its instrument
Lots = NewType("Lots", int)  # a signed size, in lots of its instrument
Ppm = NewType("Ppm", int)  # a rate, in parts per million
Ppb = NewType("Ppb", int)  # a rate for one period of funding or interest, in parts per billion
Nanos = NewType("Nanos", int)  # UTC time, in nanoseconds since the epoch

I64: TypeAlias = NDArray[np.int64]  # every ledger column
I32: TypeAlias = NDArray[np.int32]  # every row index

PPM: Final = 1_000_000
PPB: Final = 1_000_000_000
SECOND: Final = 1_000_000_000
MONEY_MAX: Final = Money(2**62)  # half of int64: one addition can never wrap unseen

GUESSED: Final = 2.0**50  # a quotient below it is known to within one from floats
PPM_DIRECT: Final = 2**42  # an amount below it times a rate up to 100 % stays below 2**62

assert MONEY_MAX + MONEY_MAX <= 2**63
assert PPM_DIRECT * PPM <= MONEY_MAX

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile ``function`` with Numba, cached on disk, keeping its type for readers and checkers.

    The cache lies in a folder named after the hash of all kernel sources (see `tidegate.__init__`),
    because Numba does not notice a change in a helper that lives in another file.
    """
    return cast("F", njit(cache=True, nogil=True)(function))


def unbounded(function: F) -> F:
    """Return the very source of a kernel, uncompiled: over Python's integers, which never wrap.

    Whatever it calls in this package is uncompiled too, so that a rule written once over integers
    and an explicit scale runs at 1e6 in the engine and at 1e18 or 1e27 against a peer's numbers.
    Columns are int64 arrays there and arrays of objects here, so a rule allocates `*_like` them.
    """
    return cast("F", _uncompiled(function, {}))


def _uncompiled(function: Callable[..., Any], seen: dict[int, dict[str, Any]]) -> FunctionType:
    source = getattr(function, "py_func", function)
    names = source.__globals__
    if id(names) not in seen:
        own = seen[id(names)] = dict(names)
        for name, value in names.items():
            plain = getattr(value, "py_func", value)
            if isfunction(plain) and plain.__module__.startswith("tidegate."):
                own[name] = _uncompiled(plain, seen)
    return FunctionType(
        source.__code__, seen[id(names)], source.__name__, source.__defaults__, source.__closure__
    )


@kernel
def ppm_floor(amount: int, rate: int) -> int:
    """Return ``amount * rate / 1e6`` rounded down, without a 128-bit product; |rate| <= 1e9."""
    if -PPM_DIRECT < amount < PPM_DIRECT and -PPM <= rate <= PPM:
        return amount * rate // PPM  # the common case: one division instead of two
    whole = amount // PPM
    return whole * rate + (amount - whole * PPM) * rate // PPM


@kernel
def ppm_ceil(amount: int, rate: int) -> int:
    """Return ``amount * rate / 1e6`` rounded up, without a 128-bit product."""
    return -ppm_floor(-amount, rate)


@kernel
def ppb_floor(amount: int, rate: int) -> int:
    """Return ``amount * rate / 1e9`` rounded down; |rate| <= 1e9."""
    whole = amount // PPB
    return whole * rate + (amount - whole * PPB) * rate // PPB


@kernel
def ppb_ceil(amount: int, rate: int) -> int:
    """Return ``amount * rate / 1e9`` rounded up; |rate| <= 1e9."""
    return -ppb_floor(-amount, rate)


@kernel
def muldiv_floor(amount: int, price: int, scale: int) -> int:
    """Return ``amount * price / scale`` rounded down, exactly.

    ``1 <= scale <= 1e9`` keeps every partial product below 2**62 as long as the result is: the
    amount and the price are both split by the scale, so that only remainders are multiplied.
    """
    whole = amount // scale
    rest = amount - whole * scale
    quotient = price // scale
    return whole * price + rest * quotient + rest * (price - quotient * scale) // scale


@kernel
def muldiv(amount: int, factor: int, whole: int) -> int:
    """Return ``amount * factor // whole`` exactly, without a 128-bit product.

    All three are >= 0, ``whole`` > 0 and, compiled, all and the result below 2**62. A quotient
    below 2**50 is guessed in floats, whose five roundings put it off by less than one, and set
    right by the remainder: both products wrap alike modulo 2**64, and it is below 2**63. Others
    take long multiplication in binary: one round a bit of ``amount``, about 100 ns. Use
    `muldiv_floor` where a small divisor is known.
    """
    guess = float(amount) * float(factor) / float(whole)
    if guess < GUESSED:
        found = int(guess)
        over = amount * factor - found * whole
        return found - 1 if over < 0 else found + (over >= whole)
    step, rest = factor // whole, factor % whole
    quotient, remainder, bits = 0, 0, 0
    while amount >> bits:
        bits += 1
    for bit in range(bits - 1, -1, -1):
        quotient *= 2
        remainder *= 2
        if remainder >= whole:
            remainder -= whole
            quotient += 1
        if (amount >> bit) & 1:
            quotient += step
            remainder += rest
            if remainder >= whole:
                remainder -= whole
                quotient += 1
    return quotient


@kernel
def muldiv_up(amount: int, factor: int, whole: int) -> int:
    """Return ``amount * factor / whole`` rounded up; otherwise as `muldiv`."""
    down = muldiv(amount, factor, whole)
    # Compiled, all three products wrap alike modulo 2**64: zero is zero.
    return down if down * whole - amount * factor == 0 else down + 1


@kernel
def isqrt(value: int) -> int:
    """Return the integer square root of ``value`` >= 0, rounded down; compiled, below 2**62.

    The float root is a first guess only; one step of Newton's from anywhere ends at or above the
    answer, and further ones go down to it.
    """
    root = int(np.sqrt(float(value)))
    if root == 0:
        return 0
    root = (root + value // root) // 2
    while value // root < root:
        root = (root + value // root) // 2
    return root


def share_floor(part: int, whole: int) -> Ppm:
    """Return ``part / whole`` in ppm, rounded down; 0 when there is no whole."""
    return Ppm(part * PPM // whole if whole else 0)


def pack(column: NDArray[Any]) -> bytes:
    """Return ``column`` as little-endian int64 bytes, the form in which batches are journalled."""
    return np.ascontiguousarray(column, dtype="<i8").tobytes()


def is_column(*columns: bytes) -> bool:
    """Return whether each of ``columns`` is a whole number of int64 cells, so that it unpacks."""
    return not any(len(column) % 8 for column in columns)


def unpack(column: bytes) -> I64:
    """Return the read-only int64 column that `pack` wrote."""
    return np.frombuffer(column, dtype="<i8").astype(np.int64, copy=False)
