"""A penalty that knows the account: how far below its line it is, and what the penalty would do."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv, muldiv_up, ppm_ceil, ppm_floor
from tidegate.kernels.allocate import ratio_ppm
from tidegate.kernels.bonus import discount_factor, linear_bonus
from tidegate.kernels.never_worse import no_worse
from tidegate.kernels.order import stable_order
from tidegate.kernels.sheet import judge, load, place, rounding_room, trade
from tidegate.kernels.value import notional


FIXED, LINEAR_HEALTH, HEALTH_PRICE, RISING = 0, 1, 2, 3  # kinds of penalty


@kernel
def penalty_rate(
    kind: int,
    most: int,
    equity: int,
    required: int,
    size: int,
    deviations: int,
    distress: int,
    rule: I64,
) -> int:
    """Return the penalty in ppm of what is closed, within 0..``most``.

    ``rule`` is [least, deepest, per_distance, per_deviation, per_distress], each in ppm. FIXED:
    most. LINEAR_HEALTH: the share of it that `linear_bonus` gives. HEALTH_PRICE: what selling at
    the account's own health gives away, 1 / (1 - (required - equity) / size) - 1. RISING: a share
    of least + per_distance * (1 - health) + per_deviation * deviations + per_distress * distress.
    """
    if kind == FIXED:
        return most
    health = min(PPM, ratio_ppm(equity, required))
    if kind == LINEAR_HEALTH:
        return ppm_floor(most, linear_bonus(health, rule[1], rule[0], PPM, PPM))
    if kind == HEALTH_PRICE:
        adjusted = max(0, min(size, size - (required - equity)))
        factor = discount_factor(adjusted, size, PPM - 1, PPM) if size > 0 else PPM
        return min(most, PPM * PPM // factor - PPM)
    share = rule[0] + ppm_floor(rule[2], PPM - health)
    share += muldiv(min(deviations, 100 * PPM), rule[3], PPM) + ppm_floor(rule[4], distress)
    return ppm_floor(most, min(share, PPM))


@kernel
def penalty_room(before: I64, after: I64, debt_rate: int) -> int:
    """Return the largest penalty that leaves the account no worse than before; negative: none.

    ``before`` and ``after`` the fill are [equity, maintenance, notional], before with equity > 0.
    Each Money of a penalty that is paid out of owed cash asks ``debt_rate`` ppm more maintenance:
    p = (E' M - E M') / (M + rate E), rounded down and less one for that requirement's rounding.
    """
    room = after[0]
    for n in range(1, 3):
        if after[n] > before[n]:
            return -1
        if after[n] > 0:
            room = min(room, after[0] - muldiv_up(before[0], after[n], before[n]))
    if debt_rate > 0 and room > 0 and before[1] > 0:
        room = muldiv(room, before[1], before[1] + ppm_ceil(before[0], debt_rate)) - 1
    return room


@kernel
def charge_fills(
    book: Book,
    facts: Facts,
    mark: I64,
    account: I64,
    instrument: I64,
    lots: I64,
    paid: I64,
    kind: int,
    rule: I64,
    kappa: int,
    guarded: int,
    deviations: I64,
    distress: int,
    out: I64,
    worse: I64,
    before: I64,
    after: I64,
) -> None:
    """Write each fill's penalty in Money, and whether the fill alone made its account worse.

    Worse by more than rounding, that is.

    The rate is asked before the fill (`penalty_rate`). The penalty is at most ``kappa`` ppm of the
    equity the fill has left, and with ``guarded`` at most what leaves the account no worse than
    before the fill: a fill that makes it worse pays nothing. ``before`` and ``after`` [n, 3] are
    without the fill's own penalty. Fills of one account are taken one after another.
    """
    order = stable_order(account)
    what, held, cost = np.zeros_like(mark), np.zeros_like(mark), np.zeros_like(mark)
    purse, rows = np.zeros(1, np.int64), 0
    for k in range(order.size):
        n = order[k]
        i, a = np.int64(instrument[n]), account[n]
        if k == 0 or a != account[order[k - 1]]:
            rows = load(book, a, what, held, cost, purse)
        judge(facts, mark, what, held, cost, purse, rows, before[n])
        at = place(what, held, cost, rows, i)
        room = rounding_room(facts, mark, i, held[at])
        rows = trade(facts, what, held, cost, purse, rows, i, lots[n], paid[n])
        judge(facts, mark, what, held, cost, purse, rows, after[n])
        have, need, size = before[n]
        after[n, 0] += room
        worse[n] = have > 0 and not no_worse(before[n], after[n])
        after[n, 0] -= room
        rate = penalty_rate(kind, facts.penalty[i], have, need, size, deviations[i], distress, rule)
        due = ppm_floor(notional(facts, i, lots[n], mark[i]), rate)
        most = ppm_floor(max(0, after[n, 0]), kappa)
        if guarded:
            debt_rate = facts.cash_debt[0] if purse[0] < most else 0
            left = penalty_room(before[n], after[n], debt_rate) if have > 0 else 0
            most = min(most, left)
        out[n] = max(0, min(due, most))
        purse[0] -= out[n]
