"""From what several sources say to one price, and how far that price can be trusted.

Prices share one unit, rates are parts of ``scale``.
"""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

from typing import Final

import numpy as np

from tidegate.domain.units import I64, kernel, muldiv


# How far a price can be trusted, by severity: the first that applies, worst first.
VALID: Final = 0
AGEING: Final = 1  # too old to trade against at once
SPARSE: Final = 2  # too few observations behind it
OLD: Final = 3  # too old to value with
UNCERTAIN: Final = 4  # its confidence interval is too wide
VOLATILE: Final = 5  # too far from its own average
NOT_POSITIVE: Final = 6


@kernel
def times(price: int, average: int) -> int:
    """Return how many times the smaller of two the larger one is, a whole number rounded down.

    Source: Drift protocol v2, `math/oracle.rs`: of a price and its average.
    """
    return max(price, average) // max(min(price, average), 1)


@kernel
def validity(
    price: int,
    width: int,
    age: int,
    average: int,
    sufficient: int,
    age_short: int,
    age_long: int,
    width_max: int,
    multiplier: int,
    ratio_max: int,
    scale: int,
) -> int:
    """Return the severity of what is wrong with ``price``; 0 where nothing is.

    ``width_max`` is a part of ``scale`` and taken ``multiplier`` times; the ratio to the average is
    a whole number, rounded down, so that a limit of 5 admits everything below six times.

    Source: Drift protocol v2, `math/oracle.rs`, oracle_validity.
    """
    if price <= 0:
        return NOT_POSITIVE
    if times(price, average) > ratio_max:
        return VOLATILE
    if width * scale // price > width_max * multiplier:
        return UNCERTAIN
    if age > age_long:
        return OLD
    if not sufficient:
        return SPARSE
    return AGEING if age > age_short else VALID


@kernel
def permitted(severity: int, worst: int) -> int:
    """Return 1 where a price of this severity may still be used by an action that bears ``worst``.

    Monotone by construction: a worse price never permits more.
    """
    return 1 if severity <= worst else 0


@kernel
def diverges(price: int, average: int, rate: int, scale: int) -> int:
    """Return 1 where ``average`` is further than ``rate / scale`` of ``price`` from it."""
    return 1 if abs(price - average) * scale > rate * price else 0


@kernel
def sample_held(price: int, average: int, rate: int, scale: int) -> int:
    """Return the sample that an average takes: within ``rate / scale`` of itself; 0: as it is.

    Source: Drift protocol v2, `math/amm.rs`, sanitize_new_price.
    """
    if not rate or not average:
        return price
    room = muldiv(average, rate, scale)
    return min(max(price, average - room), average + room)


@kernel
def upper_median(price: I64) -> int:
    """Return the upper median of prices of which 0 is none; 0 where there is none."""
    said = np.sort(price[price > 0])
    return said[said.size // 2] if said.size else 0


@kernel
def sorted_median(price: I64, quorum: int) -> int:
    """Return the middle of exactly ``quorum`` prices that arrive in order; 0 for anything else.

    Source: MakerDAO median, `median.sol`, poke: an odd quorum, ascending.
    """
    if price.size != quorum or quorum % 2 == 0:
        return 0
    for n in range(1, quorum):
        if price[n] < price[n - 1]:
            return 0
    return price[quorum // 2]


@kernel
def index_of(
    price: I64, seen: I64, now: int, age_max: int, outlier: int, sources_min: int, scale: int
) -> int:
    """Return the index: the median of the fresh sources, less those far from it; 0: unknown.

    Where fewer than ``sources_min`` are near the median, all fresh ones count: it was a broad move
    and no outlier. Source: FLOX venue, index aggregator.
    """
    fresh = np.zeros_like(price)
    known = 0
    for n in range(price.size):
        if price[n] > 0 and now - seen[n] <= age_max:
            fresh[n] = price[n]
            known += 1
    if known < sources_min:
        return 0
    middle = upper_median(fresh)
    near = np.zeros_like(price)
    kept = 0
    for n in range(price.size):
        if fresh[n] and abs(fresh[n] - middle) * scale <= middle * outlier:
            near[n] = fresh[n]
            kept += 1
    return upper_median(near) if kept >= sources_min else middle


@kernel
def mark_of(said: I64, index: int, clamp: int, scale: int) -> int:
    """Return the upper median of ``said`` (0: none), within ``clamp / scale`` of the index.

    ``said`` is the index, the last trade and the middle of the book. Source: FLOX venue, mark.
    """
    room = muldiv(index, clamp, scale)
    return min(max(upper_median(said), index - room), index + room)


@kernel
def impact_value(price: I64, lots: I64, wanted: int) -> tuple[int, int]:
    """Return (value, lots) of taking ``wanted`` lots from levels, best first, or what there is.

    Their ratio is the impact price; the caller divides. Source: FLOX venue, impact price.
    """
    value, left = 0, wanted
    for n in range(price.size):
        taken = min(left, lots[n])
        value += taken * price[n]
        left -= taken
    return value, wanted - left


@kernel
def conservative(price: int, width: int, factor: int, scale: int) -> tuple[int, int]:
    """Return (collateral, debt): the price less and plus ``factor / scale`` of its half-width.

    Rounded against the account: the product up. Source: Pyth, best practices for confidence.
    """
    room = -(-width * factor // scale)
    return price - room, price + room


@kernel
def capped_growth(snapshot: int, rate: int, scale: int, year: int, elapsed: int) -> int:
    """Return the most that a rate-bearing token's ratio may be ``elapsed`` after a snapshot.

    Linear in time and rounded down once, at the end; the contract rounds its growth per second
    down first, which is less than ``elapsed`` smallest units below this. Source: Aave CAPO,
    `PriceCapAdapterBase.sol`.
    """
    return snapshot + snapshot * rate * elapsed // (scale * year)


@kernel
def mean_tick(before: int, after: int, period: int) -> int:
    """Return the mean tick of two cumulative ones, rounded towards minus infinity.

    Source: Uniswap v3 periphery, `OracleLibrary.sol`, consult.
    """
    return (after - before) // period


@kernel
def harmonic_liquidity(before: int, after: int, period: int, whole: int, shift: int) -> int:
    """Return the harmonic mean liquidity of two cumulative seconds per liquidity.

    ``whole`` is the cumulative's range, at which it wraps, and ``shift`` its fraction bits.
    Source: Uniswap v3 periphery, `OracleLibrary.sol`, consult.
    """
    return period * (whole - 1) // (((after - before) % whole) << shift)


@kernel
def delayed_step(
    current: int, waiting: int, said: int, since: int, now: int, hop: int
) -> tuple[int, int, int, int]:
    """Return (moved, current, waiting, since) after a poke of a delayed price.

    ``since`` is the hop under way; a poke counts only once the next has begun. Source: MakerDAO
    OSM, `osm.sol`, poke.
    """
    if now < since + hop:
        return 0, current, waiting, since
    return 1, waiting, said, now // hop * hop


@kernel
def drop_trips(
    current: int, waiting: int, tolerance: int, scale: int, level: int, now: int, locked: int
) -> int:
    """Return the breaker's level: 2 where the waiting price falls below a share of the current.

    Nothing happens at level 2 and above, or until after ``locked``, while an override holds.
    Source: MakerDAO ClipperMom, `tripBreaker`.
    """
    if level >= 2 or now <= locked or waiting >= muldiv(current, tolerance, scale):
        return level
    return 2


@kernel
def within_step(value: int, wanted: int, most: int, relative: int, scale: int) -> int:
    """Return 1 where a parameter moves by at most ``most``, a part of ``scale`` if relative.

    Source: Chaos Labs agents, `RangeValidationModule.sol`.
    """
    room = muldiv(most, value, scale) if relative else most
    return 1 if abs(wanted - value) <= room else 0


@kernel
def line_after(line: int, debt: int, gap: int, ceiling: int, due: int) -> int:
    """Return the debt ceiling that keeps ``gap`` above the debt: down at once, up only when due.

    Source: MakerDAO `DssAutoLine.sol`, exec.
    """
    wanted = min(debt + gap, ceiling)
    return wanted if wanted < line or (wanted > line and due) else line


@kernel
def below_maintenance(
    cash: int, lots: int, entry: int, price: int, rate: int, unit: int, scale: int
) -> int:
    """Return 1 where one position's account stands below ``rate / scale`` of its notional.

    ``cash``, ``lots`` and prices are in ``unit``; the requirement is rounded up.
    """
    equity = cash * unit + lots * (price - entry)
    return 1 if equity < -(-abs(lots) * price * rate // scale) else 0
