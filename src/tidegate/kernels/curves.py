"""Prices of an auction over time: curves from a top price down, in whole numbers at any scale.

Every curve takes and returns prices in the caller's own unit; ``scale`` is what one whole is in
its rates (10**9 in the engine, 10**18 or 10**27 in a peer's numbers). Times share any one unit.
"""

from typing import Final

from tidegate.domain.units import isqrt, kernel, muldiv, muldiv_up


LINEAR, STAIR, EXPONENTIAL, HALVING = 0, 1, 2, 3  # the curves of `curve_price`

RATE: Final = 10**9  # one whole of the engine's own rates
UNIT: Final = 2**30  # one whole of its powers of two
FINE: Final = 1_024  # parts of a tick in which a curve is followed
HALVES_MAX: Final = 62  # halvings after which a price below 2**62 is nothing


@kernel
def power(base: int, exponent: int, scale: int) -> int:
    """Return ``base ** exponent`` at ``scale``, each multiplication rounded half up.

    Square and multiply; ``0 <= base <= scale`` and, compiled, ``scale`` <= 2**30.

    Source
    ------
    MakerDAO dss, `abaci.sol`, `rpow`: where it rounds decides the last digits of a price.
    """
    half = scale // 2
    out = base if exponent % 2 else scale
    rest, square = exponent // 2, base
    while rest:
        square = (square * square + half) // scale
        if rest % 2:
            out = (out * square + half) // scale
        rest //= 2
    return out


@kernel
def linear(top: int, elapsed: int, length: int, scale: int) -> int:
    """Return a price that falls from ``top`` to zero within ``length`` > 0, rounded down twice.

    Source
    ------
    MakerDAO dss, `abaci.sol`, `LinearDecrease`.
    """
    if elapsed >= length:
        return 0
    return muldiv(top, muldiv(length - elapsed, scale, length), scale)


@kernel
def stair(top: int, elapsed: int, step: int, cut: int, scale: int) -> int:
    """Return ``top`` times ``cut`` for every full ``step`` > 0, rounded down.

    Source
    ------
    MakerDAO dss, `abaci.sol`, `StairstepExponentialDecrease`; `ExponentialDecrease` is a step of 1.
    """
    return muldiv(top, power(cut, elapsed // step, scale), scale)


@kernel
def stair_error_max(top: int, scale: int) -> int:
    """Return by how much one step of `stair` may differ from the last price times ``cut``.

    Each of the two prices carries the rounding of its power, below one unit of the scale.
    """
    return max(1, -(-2 * top // scale))


@kernel
def stair_error(top: int, step: int, cut: int, scale: int, horizon: int) -> int:
    """Return the largest such difference within ``horizon``, counting any move between steps."""
    last, worst = stair(top, 0, step, cut, scale), 0
    for now in range(1, horizon + 1):
        price = stair(top, now, step, cut, scale)
        due = muldiv(last, cut, scale) if now % step == 0 else last
        worst = max(worst, abs(price - due))
        last = price
    return worst


@kernel
def stair_time(top: int, target: int, step: int, cut: int, scale: int) -> int:
    """Return the first moment at which `stair` is at or below ``target``; -1 if it never is.

    The price never rises, so the number of steps is found by doubling and halving.
    """
    if cut >= scale:
        return 0 if top <= target else -1
    high = 1
    while stair(top, high * step, step, cut, scale) > target:
        if stair(top, 2 * high * step, step, cut, scale) == stair(
            top, high * step, step, cut, scale
        ):
            return -1  # rounding has brought it to a halt above the target
        high *= 2
    low = -1
    while high - low > 1:
        middle = (low + high) // 2
        if stair(top, middle * step, step, cut, scale) <= target:
            high = middle
        else:
            low = middle
    return high * step


@kernel
def linear_time(top: int, target: int, length: int) -> int:
    """Return the first whole moment at which a line from ``top`` is at or below ``target``."""
    if top <= target:
        return 0
    return -(-length * (top - target) // top)


@kernel
def halving(top: int, elapsed: int, half_life: int, unit: int) -> int:
    """Return ``top * 2 ** (-elapsed / half_life)``, rounded down.

    The broken part of the exponent is taken in binary: its digits are factors 2**-(1/2), 2**-(1/4)
    ..., each the root of the one before, at ``unit`` to one whole (compiled: at most 2**30, good
    for eight digits; unbounded: whatever precision is asked for).
    """
    halves, rest = elapsed // half_life, elapsed % half_life
    if halves > 4 * HALVES_MAX:
        return 0
    factor, root, last = unit, unit // 2, 0
    while rest and root != last:
        last, root = root, isqrt(root * unit)
        rest *= 2
        if rest >= half_life:
            rest -= half_life
            factor = factor * root // unit
    price = muldiv(top, factor, unit)
    for _ in range(halves):
        price //= 2
    return price


@kernel
def phased_halving(reference: int, elapsed: int, minute: int, unit: int) -> int:
    """Return a price that starts 256 times too high and halves ever more slowly, then hourly.

    Six half-lives of 20 minutes, six of two hours, then one an hour: ``reference`` itself is
    reached after eight hours. ``minute`` is how long one is in the unit of ``elapsed``.

    Source
    ------
    Ajna, `PoolHelper.sol`, `_auctionPrice`.
    """
    if elapsed < 120 * minute:
        return halving(256 * reference, elapsed, 20 * minute, unit)
    if elapsed < 840 * minute:
        return halving(4 * reference, elapsed - 120 * minute, 120 * minute, unit)
    return halving(reference, elapsed - 840 * minute, 60 * minute, unit) // 16


@kernel
def two_phases(start: int, cutoff: int, elapsed: int, fast: int, slow: int) -> int:
    """Return a rate that falls from ``start`` to ``cutoff``, then slower to zero, rounded down.

    Source
    ------
    Derive v2-core, `DutchAuction.sol`, the discount of a solvent auction.
    """
    if elapsed < fast:
        return start - muldiv(start - cutoff, elapsed, fast)
    if elapsed >= fast + slow:
        return 0
    return muldiv(cutoff, fast + slow - elapsed, slow)


@kernel
def smooth(top: int, elapsed: int, step: int, cut: int, scale: int) -> int:
    """Return `stair` with the price falling evenly between two of its steps, rounded down."""
    done = elapsed // step * step
    upper = stair(top, done, step, cut, scale)
    lower = stair(top, done + step, step, cut, scale)
    return upper - muldiv_up(upper - lower, elapsed - done, step)


@kernel
def curve_price(curve: int, top: int, elapsed: int, step: int, cut: int) -> int:
    """Return the price of one of the engine's curves, in the unit of ``top``, rounded down.

    ``step`` > 0 is the length of a line, the time between two drops, or the half-life; ``cut`` in
    1e-9 is what a drop leaves.
    """
    if curve == LINEAR:
        return linear(top, elapsed, step, RATE)
    if curve == STAIR:
        return stair(top, elapsed, step, cut, RATE)
    if curve == EXPONENTIAL:
        return smooth(top, elapsed, step, cut, RATE)
    return halving(top, elapsed, step, UNIT)


@kernel
def auction_price(
    curve: int, base: int, limit: int, elapsed: int, selling: int, buffer: int, step: int, cut: int
) -> int:
    """Return the price in ticks at which an auction would trade now, never worse than ``limit``.

    It begins ``buffer`` (1e-6) above ``base`` and falls along its curve to the limit, and to no
    less. A purchase is the mirror image on a logarithmic scale: it begins below the base and rises.
    Rounded against the bidder; prices below 2**51 ticks.
    """
    top = base * FINE + muldiv_up(base * FINE, buffer, 1_000_000)
    fine = curve_price(curve, top, elapsed, step, cut)
    if selling:
        return max(limit, -(-fine // FINE))
    if fine <= 0:
        return limit
    return min(limit, muldiv(base * FINE, base, fine))
