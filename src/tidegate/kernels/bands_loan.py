"""Loans against bands: where they may lie, how much they carry, and how healthy they are.

Prices, scales and bands are those of `tidegate.kernels.bands`. Source: curvefi/curve-stablecoin,
controller.vy and ControllerView.vy: formulas and roundings, written anew.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from tidegate.domain.units import I64, kernel, muldiv, muldiv_up
from tidegate.kernels.bands import SKIP_MAX, edge
from tidegate.kernels.exponent import ln_scaled


NO_LOAN, TOO_LITTLE, TOO_MUCH = -(10**6), -(10**6) - 1, -(10**6) - 2  # instead of a band
NEAREST = 5  # bands below the oracle at which the search for the first usable one begins
TRIM = 10_000  # the largest loan is one part in this many short of what its bands carry

TAKEN, PAID, DEBT_LEFT, GIVEN = 0, 1, 2, 3  # cells of a liquidation's result


@kernel
def spread(
    collateral: int, bands: int, discount: int, dead: int, amp: int, root: int, scale: int
) -> int:
    """Return the collateral that sold at the first band's upper price would fetch what all do.

    Each of ``bands`` equal parts is sold at its band's geometric middle, less ``discount`` (at
    scale) and what `dead` shares could cost. ``root`` is `root_ratio`.
    """
    lost = discount + dead * scale // max(collateral // bands, dead)
    part = muldiv(collateral, scale - min(lost, scale), root * bands)
    total = part
    for _ in range(1, bands):
        part = muldiv(part, amp - 1, amp)
        total += part
    return total


@kernel
def debt_band(
    debt: int,
    carried: int,
    bands: int,
    active: int,
    lowest: int,
    base: int,
    oracle: int,
    ratio: int,
    scale: int,
    unit: int,
) -> int:
    """Return the highest-numbered first band in which collateral still carries ``debt``.

    ``carried`` is `spread` of the collateral with the loan's discount. The band is at most
    ``SKIP_MAX - bands`` below the active one, and above ``lowest`` (the next band that cannot be
    passed). NO_LOAN without a debt, TOO_LITTLE when the collateral is worth nothing, TOO_MUCH when
    the band would lie at or above ``lowest`` or above the oracle: then the debt is too high.
    """
    if debt <= 0:
        return NO_LOAN
    times = muldiv(carried, edge(base, active, ratio, scale), debt + 1)
    times = times if scale == unit else muldiv(times, scale, unit)
    if times == 0:
        return TOO_LITTLE
    first = min(ln_scaled(times, scale) // ratio, SKIP_MAX - bands) + active
    if first <= active and first - 1 < lowest:
        return TOO_MUCH
    return first if edge(base, first, ratio, scale) <= oracle else TOO_MUCH


@kernel
def first_price(lowest: int, base: int, oracle: int, ratio: int, scale: int) -> int:
    """Return the upper price of the highest band that does not lie above the oracle.

    The search begins `NEAREST` bands below the oracle and ends above ``lowest``.
    """
    n = ln_scaled(muldiv(base, scale, oracle), scale) // ratio + NEAREST
    n = max(n, lowest + 1)
    price = edge(base, n, ratio, scale)
    for _ in range(SKIP_MAX + 1):
        n -= 1
        if n <= lowest:
            break
        above = edge(base, n, ratio, scale)
        if above > oracle:
            break
        price = above
    return price


@kernel
def most_debt(carried: int, price: int, unit: int) -> int:
    """Return the largest debt that ``carried`` (see `spread`) supports from ``price`` downwards."""
    return muldiv(max(0, muldiv(carried, price, unit) - 1), TRIM - 1, TRIM)


@kernel
def loan_health(worth: int, debt: int, discount: int, scale: int) -> int:
    """Return ``worth * (1 - discount) / debt - 1`` at scale, rounded down; below 0 is liquidated.

    ``worth`` is what the bands come to in x; ``debt`` > 0.
    """
    return muldiv(worth, scale - discount, debt) - scale


@kernel
def health_above(y: int, oracle: int, up: int, debt: int, scale: int, unit: int) -> int:
    """Return what health gains while the oracle stands above the first band's upper price."""
    if oracle <= up:
        return 0
    return muldiv(muldiv(oracle - up, y, unit), scale, debt)


@kernel
def part_removed(part: int, discount: int, scale: int) -> int:
    """Return which share of the bands is released when ``part`` of a debt is repaid for another.

    ``((1 + h / 2) / (1 + h) (1 - part) + part) part``: less than the debt's share, so that a
    partial liquidation leaves the rest healthier; all when all is repaid. Rounded down.
    """
    if discount == 0 or part == scale:
        return part
    kept = muldiv(scale + discount // 2, scale - part, scale + discount)
    return muldiv(kept + part, part, scale)


@kernel
def liquidated(debt: int, x: int, y: int, part: int, discount: int, scale: int, out: I64) -> None:
    """Write a hard liquidation of ``part`` of a position that holds (x, y) against ``debt``.

    What the position holds of the debt asset pays first: the liquidator adds only what is missing.
    Cells: y given away, x the liquidator must bring, the debt left, and x beyond the repaid debt
    that is given away. The repaid debt rounds up, what is given rounds down.
    """
    repaid = muldiv_up(debt, part, scale)
    share = part_removed(part, discount, scale) if repaid < debt else scale
    own = muldiv(x, share, scale)
    out[TAKEN] = muldiv(y, share, scale)
    out[PAID] = max(0, repaid - own)
    out[DEBT_LEFT] = debt - repaid
    out[GIVEN] = max(0, own - repaid)
