"""Product-sum accounting: any number of depositors share losses and gains in constant time.

A deposit is worth ``d * P / P0``: the running product ``P`` falls with every loss, ``P0`` is what
it was when the deposit was made. A gain is ``d * (S - S0) / P0``: the running sum ``S`` grows by
``gain * P / deposits``. When ``P`` would fall below ``one / step`` it is multiplied by ``step`` and
the scale rises by one, so that precision never runs out; each scale has a sum of its own.

Two precisions of one idea. `charge` and `credit` work with a loss and a gain *per unit* and carry
their rounding errors forward. `take_loss` and `take_gain` divide once, and their sums stay small:
with ``one`` = 2**60 and ``step`` = 2**16 every value fits int64, so the engine uses them.

Source: Liquity v1 and v2, `StabilityPool`; the idea is Batog, Boca and Johnson, "Scalable Reward
Distribution on the Ethereum Blockchain" (2018), with deposits that compound.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from typing import Final

from tidegate.domain.units import I64, MONEY_MAX, kernel, muldiv, muldiv_up


ONE: Final = 2**60  # the engine's product of a fresh pool
STEP: Final = 2**16  # what one scale is worth
SPAN: Final = 2  # how many further scales a gain is still read from
SUM_MAX: Final = 2**61  # a pool takes in no gain that would carry its sum beyond

assert ONE <= SUM_MAX < MONEY_MAX
assert ONE // STEP >= 2**44  # one in 1.7e13: the coarsest a product ever is

# Cells of the columns that the kernels write.
PRODUCT: Final = 0
SCALES: Final = 1  # by how much the scale rose
SUM: Final = 2  # what the sum of the scale before the rise gains
KEPT: Final = 3  # what was not handed out: a carry, or units of `take_gain`


@kernel
def charge(
    deposits: int, loss: int, product: int, carry: int, one: int, step: int, out: I64
) -> None:
    """Write the product after ``loss`` <= ``deposits``, the scales risen, and the error carried.

    The loss per unit is rounded up, and what was charged too much is charged less next time:
    ``u = max(0, loss * one - carry) // deposits + 1``. The caller leaves something in the pool, so
    that the product never is zero.
    """
    whole = muldiv(loss, one, deposits)
    rest = loss * one - whole * deposits  # wraps alike when compiled, and is below `deposits`
    whole, rest = whole - carry // deposits, rest - carry % deposits
    if rest < 0:
        whole, rest = whole - 1, rest + deposits
    if whole < 0:
        whole, rest = 0, 0
    out[KEPT] = deposits - rest
    shrink(product, one - (whole + 1), one, one // step, step, out)


@kernel
def shrink(product: int, part: int, whole: int, least: int, step: int, out: I64) -> None:
    """Write ``product * part / whole`` rounded down, times ``step`` as often as it is too small.

    Too small is below ``least``. At most as many scales as it takes; ``part`` must be > 0.
    """
    down = muldiv(product, part, whole)
    rest = product * part - down * whole  # exact: both products wrap alike, and it is below `whole`
    scales = 0
    while down < least and (down > 0 or rest > 0):
        more = muldiv(rest, step, whole)
        rest = rest * step - more * whole
        down = down * step + more
        scales += 1
    out[PRODUCT], out[SCALES] = down, scales


@kernel
def credit(deposits: int, gain: int, product: int, carry: int, one: int, out: I64) -> None:
    """Write what the sum gains for ``gain``, and the error carried; the gain rounds down.

    Compiled, the gain times ``one`` and the sum must stay below 2**62: it is for a wide scale.
    """
    total = gain * one + carry
    unit = total // deposits
    out[SUM] = unit * product
    out[KEPT] = total - unit * deposits


@kernel
def take_loss(deposits: int, loss: int, product: int, one: int, step: int, out: I64) -> None:
    """Write the product after ``0 <= loss < deposits`` and the scales risen; both below 2**62.

    It rounds down once, against the depositors: they can never be owed more than the pool holds.
    """
    shrink(product, deposits - loss, deposits, one // step, step, out)


@kernel
def take_gain(deposits: int, gain: int, product: int, out: I64) -> None:
    """Write by how much the sum grows for ``gain`` units, and the units that rounding kept back.

    Taken before the loss that it came with. What is kept back, less than ``deposits / product``
    units and one more, goes with the next gain. Needs ``gain < deposits * 2**62 / product``.
    """
    grown = muldiv(product, gain, deposits)
    out[SUM] = grown
    out[KEPT] = gain - muldiv_up(grown, deposits, product)


@kernel
def deposit_now(deposit: int, at: int, product: int, scales: int, step: int) -> int:
    """Return what ``deposit`` is worth, rounded down: ``deposit * product / at / step**scales``."""
    value = muldiv(deposit, product, at)
    for _ in range(scales):
        value //= step
    return value


@kernel
def gain_now(deposit: int, at: int, before: int, sums: I64, step: int) -> int:
    """Return the gain of ``deposit``, rounded down.

    ``sums`` holds the sum of the deposit's own scale and of those after it, as far as gains are
    still read; ``before`` is what the first was at the time of the deposit.
    """
    grown = sums[0] - before
    worth = 1
    for n in range(1, sums.size):
        worth *= step
        grown += sums[n] // worth
    return muldiv(deposit, grown, at)
