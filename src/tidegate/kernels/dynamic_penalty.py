"""A penalty that knows the account: how far below its line it is, and what the penalty would do."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false

import numpy as np

from tidegate.domain.book import Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, kernel, muldiv, muldiv_up, ppm_ceil, ppm_floor
from tidegate.kernels.allocate import ratio_ppm
from tidegate.kernels.bonus import discount_factor, linear_bonus
from tidegate.kernels.margin import MAINTENANCE, requirement
from tidegate.kernels.never_worse import no_worse, standing
from tidegate.kernels.value import SPOT, in_money, notional, settled_value


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
def _held(book: Book, account: int, i: int) -> int:
    held = 0
    row = np.int64(book.head[account])
    while row >= 0:
        if book.instrument[row] == i:
            held = book.lots[row]
        row = np.int64(book.follow[row])
    return held


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

    The rate is asked before the fill (`penalty_rate`). The penalty is at most ``kappa`` ppm of the
    equity the fill has left, and with ``guarded`` at most what leaves the account no worse than
    before the fill: a fill that makes it worse pays nothing. ``before`` and ``after`` [n, 3] are
    without the fill's own penalty. Fills of one account are taken one after another.
    """
    order = np.argsort(account, kind="mergesort")
    none = lots[:0]
    now, cash = np.zeros(3, np.int64), 0
    first = 0
    for k in range(order.size):
        n = order[k]
        i, a = np.int64(instrument[n]), account[n]
        if k == 0 or a != account[order[k - 1]]:
            standing(book, facts, mark, none, a, -1, 0, 0, now)
            first, cash = k, book.cash[a]
        held = _held(book, a, i)
        for m in range(first, k):
            held += lots[order[m]] if instrument[order[m]] == i else 0
        before[n], after[n] = now, now
        gain = in_money(facts, mark, i, settled_value(facts, i, lots[n], mark[i]) - paid[n])
        size, rest = notional(facts, i, held, mark[i]), notional(facts, i, held + lots[n], mark[i])
        after[n, 0] += gain
        after[n, 1] += requirement(facts, i, held + lots[n], rest, MAINTENANCE)
        after[n, 1] -= requirement(facts, i, held, size, MAINTENANCE)
        after[n, 2] += rest - size
        if facts.kind[i] == SPOT:
            after[n, 1] -= ppm_ceil(max(0, -cash), facts.cash_debt[0])
            cash -= paid[n]
            after[n, 1] += ppm_ceil(max(0, -cash), facts.cash_debt[0])
        worse[n] = before[n, 0] > 0 and not no_worse(before[n], after[n])
        rate = penalty_rate(
            kind, facts.penalty[i], now[0], now[1], now[2], deviations[i], distress, rule
        )
        due = ppm_floor(notional(facts, i, lots[n], mark[i]), rate)
        most = ppm_floor(max(0, after[n, 0]), kappa)
        debt_rate = facts.cash_debt[0] if cash < most else 0
        if guarded:
            room = penalty_room(before[n], after[n], debt_rate) if before[n, 0] > 0 else 0
            most = min(most, room)
        out[n] = max(0, min(due, most))
        now[:] = after[n]
        now[0] -= out[n]
        now[1] -= ppm_ceil(max(0, -cash), facts.cash_debt[0])
        cash -= out[n]
        now[1] += ppm_ceil(max(0, -cash), facts.cash_debt[0])
