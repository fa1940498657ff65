"""Volatility, drawdown and the breaker's ladder along a path, as the engine reckons them."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

from tidegate.domain.book import FUND, TRANCHES_MAX
from tidegate.domain.units import PPM, SECOND, isqrt, kernel, muldiv
from tidegate.lab.kernels import cells as c
from tidegate.lab.kernels.desk import Desk
from tidegate.lab.kernels.inner import inner


NEVER = 2**62
EXACT = 2.0**62  # below it a product that floats call this large is in range


@kernel
def sum_ratio(first: int, second: int, third: int, fourth: int, whole: int) -> int:
    """Return ``(first * second + third * fourth) // whole``, whatever the products.

    All >= 0, ``whole`` > 0, and all but the products below 2**62, the result too.
    """
    if float(first) * float(second) + float(third) * float(fourth) < EXACT:
        return (first * second + third * fourth) // whole
    one, two = muldiv(first, second, whole), muldiv(third, fourth, whole)
    # Remainders are below `whole`; the products wrap modulo 2**64 and so do their differences.
    rest = (first * second - one * whole) + (third * fourth - two * whole)
    return one + two + rest // whole


@kernel
def variance_after(price: int, last: int, variance: int, elapsed: int, memory: int) -> int:
    """Return what `safeguards.breaker.LadderBreaker.variance` returns."""
    if last == 0 or elapsed <= 0:
        return variance
    r = min(abs(price - last) * PPM // last, PPM)
    return min(sum_ratio(variance, memory, r * r, SECOND, memory + elapsed), PPM * PPM)


@kernel
def deviations_of(price: int, anchor: int, variance: int, window: int, least: int) -> int:
    """Return what `safeguards.breaker.LadderBreaker.deviations` returns."""
    if anchor == 0:
        return 0
    move = abs(price - anchor) * PPM // anchor
    normal = max(least, isqrt(sum_ratio(variance, window, 0, 0, SECOND)), 1)
    if move >= NEVER // PPM:
        return min(muldiv(move, PPM, normal), NEVER - 1)
    return min(move * PPM // normal, NEVER - 1)


@inner
def mark_price(desk: Desk, i: int, price: int, now: int) -> None:
    """Move the mark of ``i``, its variance, its window and its deviations."""
    m, rule = desk.market[i], desk.rule
    last, variance = m[c.MARK], m[c.VARIANCE]
    m[c.VARIANCE] = variance_after(price, last, variance, now - m[c.MARKED_AT], rule[c.MEMORY])
    if m[c.ANCHOR] == 0 or now - m[c.ANCHORED_AT] >= rule[c.WINDOW]:
        m[c.ANCHOR], m[c.ANCHORED_AT] = last or price, now
    # Judged by what was normal before this move, as the engine does.
    m[c.DEVIATIONS] = deviations_of(
        price, m[c.ANCHOR], variance, rule[c.WINDOW], rule[c.DEVIATION_MIN]
    )
    m[c.MARK], m[c.MARKED_AT] = price, now


@inner
def fund_of(desk: Desk) -> int:
    """Return the money in all tranches."""
    total = 0
    for k in range(TRANCHES_MAX):
        total += desk.people[FUND + k, c.CASH]
    return total


@inner
def reached(desk: Desk, column: int, deviations: int, drawdown: int) -> int:
    """Return the highest rung whose thresholds, from ``column`` on, an alarm reaches; 0: none."""
    for n in range(desk.step.shape[0] - 1, -1, -1):
        step = desk.step[n]
        if deviations >= step[column] or drawdown >= step[column + 1]:
            return step[c.LEVEL]
    return 0


@inner
def watch(desk: Desk, now: int) -> int:
    """Let the breaker judge the moves and the fund; return the rung it stands on."""
    cell, fund = desk.cell, fund_of(desk)
    if fund > cell[c.PEAK] or now - cell[c.PEAK_AT] > desk.rule[c.DRAWDOWN_WINDOW]:
        cell[c.PEAK], cell[c.PEAK_AT] = fund, now
    if desk.step.shape[0] == 0:
        return 0
    drawdown, deviations = 0, 0
    if cell[c.PEAK] > fund:
        drawdown = sum_ratio(cell[c.PEAK] - fund, PPM, 0, 0, cell[c.PEAK])
    for i in range(desk.market.shape[0]):
        deviations = max(deviations, desk.market[i, c.DEVIATIONS])
    rung, calm = cell[c.RUNG], cell[c.CALM]
    target = reached(desk, c.LINE_DEVIATIONS, deviations, drawdown)
    if target >= rung and target > 0:
        rung, calm = target, -1
    elif rung == 0 or reached(desk, c.HELD_DEVIATIONS, deviations, drawdown) >= rung:
        calm = -1
    elif calm < 0:
        calm = now
    elif now - calm >= desk.rule[c.COOLDOWN]:
        rung, calm = below(desk, rung), now
    cell[c.RUNG], cell[c.CALM] = rung, calm
    desk.total[c.RUNG_MAX] = max(desk.total[c.RUNG_MAX], rung)
    return rung


@inner
def below(desk: Desk, rung: int) -> int:
    """Return the next lower rung of the ladder."""
    lower = 0
    for n in range(desk.step.shape[0]):
        if desk.step[n, c.LEVEL] < rung:
            lower = max(lower, desk.step[n, c.LEVEL])
    return lower


@inner
def pace_of(desk: Desk, rung: int) -> int:
    """Return the pace of the last step at or below ``rung``; full pace where there is none."""
    pace = PPM
    for n in range(desk.step.shape[0]):
        if desk.step[n, c.LEVEL] <= rung:
            pace = desk.step[n, c.PACE]
    return pace
