"""What waiting for one's turn may cost: an add-on to maintenance where a throttle delays."""

# Indexing a column gives a scalar, which the checker takes for another column.
# pyright: reportArgumentType=false, reportReturnType=false

import numpy as np

from tidegate.domain.book import FIRST_USER, Book
from tidegate.domain.facts import Facts
from tidegate.domain.units import I64, PPM, isqrt, kernel, muldiv, ppm_ceil, ppm_floor
from tidegate.kernels.margin import premium_rate
from tidegate.kernels.value import INVERSE, SPOT, notional
from tidegate.kernels.window import windows_of


WAIT_MAX = 10**12  # microseconds: 11 days; who waits longer waits that long


@kernel
def wait_us(lots: int, capacity: int, window_us: int) -> int:
    """Return how long ``lots`` take to be released, ``capacity`` a window, in us, rounded up."""
    if lots // capacity >= WAIT_MAX // window_us:
        return WAIT_MAX
    return muldiv(lots, window_us, capacity) + 1


@kernel
def waiting_rate(risk: int, wait: int) -> int:
    """Return the rate in ppm that a price may move while one waits: risk * sqrt(T), rounded up.

    ``risk`` is z * sigma in ppm per square root of a second, ``wait`` in microseconds.

    Source: the live form of Synthetix v3's (windows - 1) * cost: z * sigma * sqrt(T) * notional.
    """
    root = isqrt(wait)
    if root * root < wait:
        root += 1
    return (risk * root + 999) // 1_000


@kernel
def free_rate(facts: Facts, i: int, lots: int) -> int:
    """Return what a position's own maintenance leaves of 100 %, less a Money per tick and lot.

    Within it the add-on keeps a position's net margin monotone in its price, roundings included,
    and its whole requirement at most its notional: the range proof holds as it stands.
    """
    top = facts.tier_maintenance[facts.tier_start[i + 1] - 1]
    if facts.premium[i]:
        first = facts.tier_maintenance[facts.tier_start[i]]
        top = max(top, premium_rate(first, facts.premium[i], lots))
    if facts.kind[i] == INVERSE:
        return PPM - top  # its notional does not move with the price
    value = facts.tick_value[i]
    return max(0, PPM - top - (PPM + value - 1) // value)


@kernel
def waiting_margin(
    facts: Facts,
    i: int,
    lots: int,
    price: int,
    capacity: I64,
    window_us: int,
    risk: int,
    cost: int,
) -> int:
    """Return what one position must hold for the wait, in Money; balances and no capacity: 0.

    (windows - 1) * cost for the Synthetix form, plus ``waiting_rate`` of the notional; both at most
    what `free_rate` leaves. A function of the lots and, in proportion, of the notional.
    """
    if lots == 0 or capacity[i] == 0 or facts.kind[i] == SPOT:
        return 0
    size, room = notional(facts, i, lots, price), free_rate(facts, i, lots)
    rate = min(room, waiting_rate(risk, wait_us(abs(lots), capacity[i], window_us)))
    turns = windows_of(abs(lots), capacity[i]) - 1
    most = ppm_floor(size, room)
    if cost and turns > most // cost:
        return most
    return min(most, turns * cost + ppm_ceil(size, rate))


@kernel
def charge_wait(
    book: Book,
    facts: Facts,
    mark: I64,
    low: I64,
    high: I64,
    capacity: I64,
    window_us: int,
    risk: int,
    cost: int,
    required: I64,
    best: I64,
) -> None:
    """Add what waiting asks of every account to ``required``, and take it from ``best``, in place.

    ``best`` is charged at the end of the believed interval that favours the position, where its net
    margin is best: with the add-on it still is.
    """
    for row in range(book.counts[1]):
        lots, account = book.lots[row], book.account[row]
        if lots == 0 or account < FIRST_USER:
            continue
        i = np.int64(book.instrument[row])
        end = high[i] if lots > 0 else low[i]
        required[account] += waiting_margin(
            facts, i, lots, mark[i], capacity, window_us, risk, cost
        )
        best[account] -= waiting_margin(facts, i, lots, end, capacity, window_us, risk, cost)


@kernel
def account_wait(
    book: Book,
    facts: Facts,
    mark: I64,
    account: int,
    instrument: int,
    lots: int,
    capacity: I64,
    window_us: int,
    risk: int,
    cost: int,
) -> int:
    """Return what waiting asks of one account after a change of ``lots`` in ``instrument``."""
    total, met = 0, False
    row = np.int64(book.head[account])
    while row >= 0:
        i, held = np.int64(book.instrument[row]), book.lots[row]
        if i == instrument:
            held += lots
            met = True
        total += waiting_margin(facts, i, held, mark[i], capacity, window_us, risk, cost)
        row = np.int64(book.follow[row])
    if not met and instrument >= 0:
        total += waiting_margin(
            facts, instrument, lots, mark[instrument], capacity, window_us, risk, cost
        )
    return total
